/* The least that a server of streams can do: the peer that the hub is measured against.
 *
 *   stream_server
 *
 * Prints "<port> <control port>". Any request to the first opens a stream; a number written to the second
 * is that many events to all of them. It knows no pacing, no limits and no slow readers.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 512, LIMIT = 32768, BUFFER = 65536 };

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\n:\n\n\r\n";

static int streams[LIMIT], count;

static int listen_on(int *port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 4096) < 0) exit(1);
    getsockname(fd, (struct sockaddr *)&address, &size);
    *port = ntohs(address.sin_port);
    return fd;
}

static void announce(int events) {
    static int version;
    char record[256], chunk[300];
    for (int event = 0; event < events; event++) {
        int size = snprintf(record, sizeof record,
                            "event: *\ndata: {\"event\":\"patch\",\"domain\":\"flag\","
                            "\"identifier\":\"bench-flag-%02d\",\"version\":%d}\n\n",
                            event, ++version);
        size = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", size, record);
        for (int i = 0; i < count; i++)
            if (send(streams[i], chunk, size, MSG_NOSIGNAL | MSG_DONTWAIT) != size) exit(1);
    }
}

int main(void) {
    static char buffer[BUFFER];
    static struct epoll_event ready[BATCH];
    int port, control_port, control = -1, yes = 1, poll = epoll_create1(0);
    int door = listen_on(&port), control_door = listen_on(&control_port);
    struct epoll_event wanted = {.events = EPOLLIN};
    epoll_ctl(poll, EPOLL_CTL_ADD, door, (wanted.data.fd = door, &wanted));
    epoll_ctl(poll, EPOLL_CTL_ADD, control_door, (wanted.data.fd = control_door, &wanted));
    printf("%d %d\n", port, control_port);
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(poll, ready, BATCH, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == door || fd == control_door) {
                for (int new; (new = accept4(fd, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                    setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                    if (fd == control_door) control = new;
                    epoll_ctl(poll, EPOLL_CTL_ADD, new, (wanted.data.fd = new, &wanted));
                }
                continue;
            }
            ssize_t size = read(fd, buffer, sizeof buffer - 1);
            if (size <= 0) {
                if (fd == control) return 0;
                close(fd);
            } else if (fd == control) {
                buffer[size] = 0;
                announce(atoi(buffer));
            } else if (count < LIMIT) {
                streams[count++] = fd;
                if (send(fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL) < 0) return 1;
            }
        }
    }
}
