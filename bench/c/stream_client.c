/* Opens streams, has the server announce changes, and says when the last stream had been told.
 *
 *   stream_client PORT CONTROL_PORT STREAMS EVENTS ROUNDS GAP_MS < request
 *
 * The request (standard input) is sent on every connection to PORT. A stream is open when its first
 * heartbeat record has arrived. "open <seconds>" is printed then, and a line is awaited from the file
 * descriptor 3, so that the server's memory can be read. Then, per round, "<EVENTS>\n" is written to
 * CONTROL_PORT and "round <first ms> <median ms> <last ms> <lost>" printed: the times from that write to
 * the moment at which the first, half, and all of the streams had every event, and how many events never
 * came.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 512, BUFFER = 65536, WAITS = 10000 };

static const char HEARTBEAT[] = ":\n\n";
static const char EVENT[] = "data: {";

struct stream {
    int fd, open, beat, match;
    long told;
};

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int dial(int port, int number) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    if (fd < 0) die("socket");
    /* Several source addresses: one has too few ports for this many connections. */
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number % 4);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port);
    setsockopt(fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind");
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return fd;
}

/* How often text occurs in data that comes in pieces; none of our texts overlaps itself. */
static long count(const char *text, int *match, const char *data, ssize_t size) {
    long found = 0;
    for (ssize_t i = 0; i < size; i++) {
        *match = data[i] == text[*match] ? *match + 1 : data[i] == text[0];
        if (!text[*match]) {
            *match = 0;
            found++;
        }
    }
    return found;
}

static int compare(const void *one, const void *other) {
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

int main(int argc, char **argv) {
    static char request[BUFFER], buffer[BUFFER];
    static struct epoll_event ready[BATCH];
    if (argc != 7) return 2;
    int port = atoi(argv[1]), control_port = atoi(argv[2]), streams = atoi(argv[3]);
    int events = atoi(argv[4]), rounds = atoi(argv[5]), gap = atoi(argv[6]);
    size_t length = fread(request, 1, sizeof request, stdin);
    struct stream *all = calloc(streams, sizeof *all);
    double *times = calloc(streams, sizeof *times);
    int poll = epoll_create1(0), opened = 0, dialled = 0;

    double start = now_ms();
    while (opened < streams) {
        for (int i = 0; i < 64 && dialled < streams; i++, dialled++) {
            struct stream *stream = &all[dialled];
            struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = stream};
            stream->fd = dial(port, dialled);
            if (write(stream->fd, request, length) != (ssize_t)length) die("write");
            fcntl(stream->fd, F_SETFL, O_NONBLOCK);
            epoll_ctl(poll, EPOLL_CTL_ADD, stream->fd, &wanted);
        }
        int n = epoll_wait(poll, ready, BATCH, dialled < streams ? 0 : WAITS);
        if (n == 0 && dialled == streams) die("streams do not open");
        for (int i = 0; i < n; i++) {
            struct stream *stream = ready[i].data.ptr;
            ssize_t size = read(stream->fd, buffer, sizeof buffer);
            if (size <= 0) die("a stream ended");
            if (!stream->open && count(HEARTBEAT, &stream->beat, buffer, size)) {
                stream->open = 1;
                opened++;
            }
        }
    }
    printf("open %.3f\n", (now_ms() - start) / 1e3);
    fflush(stdout);
    if (read(3, buffer, 1) < 1) return 1;

    int control = dial(control_port, 0);
    for (int round = 0; round < rounds; round++) {
        int told = 0;
        long expected = (long)streams * events, got = 0;
        /* What comes meanwhile is heartbeats. */
        double until = now_ms() + gap;
        for (int n; until > now_ms() && (n = epoll_wait(poll, ready, BATCH, gap)) > 0;)
            for (int i = 0; i < n; i++)
                if (read(((struct stream *)ready[i].data.ptr)->fd, buffer, sizeof buffer) <= 0) die("ended");
        for (int i = 0; i < streams; i++) all[i].told = all[i].match = 0;

        int size = snprintf(buffer, sizeof buffer, "%d\n", events);
        start = now_ms();
        if (write(control, buffer, size) != size) die("control");
        while (told < streams) {
            int n = epoll_wait(poll, ready, BATCH, WAITS);
            if (n <= 0) break;
            for (int i = 0; i < n; i++) {
                struct stream *stream = ready[i].data.ptr;
                ssize_t count_read = read(stream->fd, buffer, sizeof buffer);
                if (count_read < 0 && errno == EAGAIN) continue;
                if (count_read <= 0) die("a stream ended");
                long found = count(EVENT, &stream->match, buffer, count_read);
                got += found;
                stream->told += found;
                if (found && stream->told == events) times[told++] = now_ms() - start;
            }
        }
        qsort(times, told, sizeof *times, compare);
        printf("round %.2f %.2f %.2f %ld\n", told ? times[0] : 0, told ? times[told / 2] : 0,
               told ? times[told - 1] : 0, expected - got);
        fflush(stdout);
    }
    return 0;
}
