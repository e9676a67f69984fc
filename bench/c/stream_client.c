/* Opens streams, has the server announce changes, and says when the last stream had been told.
 *
 *   stream_client PORT CONTROL_PORT STREAMS EVENTS ROUNDS GAP_MS SLOW WINDOW GO [FETCH_BYTES] < request
 *
 * The request (standard input) is sent on every connection to PORT, with at most WINDOW of them waiting for
 * an answer. A stream is open when its first heartbeat record has arrived; one that the server ends before
 * all are open is opened again. "open <seconds> <opened again>" is printed then, and a byte is awaited from
 * the file descriptor GO, so that the server's memory can be read. Then, per round, "<EVENTS>\n" is written
 * to CONTROL_PORT and "round <first ms> <median ms> <p99 ms> <last ms> <lost>" printed: the times from that
 * write to the moment at which the first, half, 99 % and all of the streams had every event, and how many
 * events never came. A round is over when all came, or five seconds after the last that did.
 *
 * SLOW more streams are opened, with a small receive buffer, that are never read again; they do not count.
 *
 * With FETCH_BYTES, the last that many bytes of standard input are another request, which each stream's
 * client sends on a second connection when it has every event, as an SDK fetches what changed; the times
 * are then those at which the responses had come.
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

enum { BATCH = 512, BUFFER = 65536, WAITS = 10000, OPENS_WITHIN = 120000, NEXT_WITHIN = 5000 };

static const char HEARTBEAT[] = ":\n\n";
static const char EVENT[] = "data: {";

static char request[BUFFER];
static ssize_t length;

struct stream {
    int fd, open, beat, match, slow;
    long told;
    struct stream *fetch; /* the second connection; its own `fetch` is null */
    long left;            /* of a second connection: bytes of the response to come, -1 before its head */
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

static int dial(int port, int number, int slow) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    if (fd < 0) die("socket");
    /* Several source addresses: one has too few ports for this many connections. */
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number % 4);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port);
    setsockopt(fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &yes, sizeof yes);
    int small = 2048;
    if (slow) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
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

static void watch(int poll, struct stream *stream) {
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = stream};
    fcntl(stream->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(poll, EPOLL_CTL_ADD, stream->fd, &wanted);
}

static void begin(int poll, struct stream *stream, int port, int number) {
    stream->fd = dial(port, number, stream->slow);
    if (write(stream->fd, request, length) != length) die("write");
    watch(poll, stream);
}

/* Whether the response on a second connection is complete now; its head must come in one piece. */
static int fetched(struct stream *second, char *data, ssize_t size) {
    if (second->left < 0) {
        data[size] = 0;
        char *body = strstr(data, "\r\n\r\n"), *length = strcasestr(data, "\r\ncontent-length:");
        if (!body || !length || strncmp(data, "HTTP/1.1 200", 12)) die("a fetch was refused");
        second->left = atol(length + 17);
        size -= body + 4 - data;
    }
    second->left -= size;
    return second->left == 0;
}

int main(int argc, char **argv) {
    static char buffer[BUFFER + 1];
    static struct epoll_event ready[BATCH];
    if (argc != 10 && argc != 11) return 2;
    int port = atoi(argv[1]), control_port = atoi(argv[2]), streams = atoi(argv[3]);
    int events = atoi(argv[4]), rounds = atoi(argv[5]), gap = atoi(argv[6]), slow = atoi(argv[7]);
    int window = atoi(argv[8]), go = atoi(argv[9]), again = 0;
    ssize_t fetch = argc == 11 ? atoi(argv[10]) : 0;
    length = (ssize_t)fread(request, 1, sizeof request, stdin) - fetch;
    struct stream *all = calloc(streams + slow, sizeof *all), *seconds = calloc(streams, sizeof *seconds);
    double *times = calloc(streams, sizeof *times);
    int poll = epoll_create1(0), opened = 0, dialled = 0, number = 0;

    double start = now_ms();
    while (opened < streams + slow) {
        for (; dialled - opened < window && dialled < streams + slow; dialled++) {
            all[dialled].slow = dialled >= streams;
            begin(poll, &all[dialled], port, number++);
        }
        int n = epoll_wait(poll, ready, BATCH, WAITS);
        if (n == 0 || now_ms() - start > OPENS_WITHIN) die("streams do not open");
        for (int i = 0; i < n; i++) {
            struct stream *stream = ready[i].data.ptr;
            ssize_t size = read(stream->fd, buffer, BUFFER);
            if (size <= 0) {
                close(stream->fd);
                opened -= stream->open;
                stream->open = stream->beat = 0;
                if (again++ == streams) die("streams end again and again");
                begin(poll, stream, port, number++);
                continue;
            }
            if (!stream->open && count(HEARTBEAT, &stream->beat, buffer, size)) {
                stream->open = 1;
                opened++;
                if (stream->slow) epoll_ctl(poll, EPOLL_CTL_DEL, stream->fd, NULL);
            }
        }
    }
    printf("open %.3f %d\n", (now_ms() - start) / 1e3, again);
    fflush(stdout);
    if (read(go, buffer, 1) < 1) return 1;
    for (int i = 0; fetch && i < streams; i++) {
        all[i].fetch = &seconds[i];
        seconds[i].fd = dial(port, number++, 0);
        watch(poll, &seconds[i]);
    }

    int control = dial(control_port, 0, 0);
    for (int round = 0; round < rounds; round++) {
        int told = 0;
        long expected = (long)streams * events, got = 0;
        /* What comes meanwhile is heartbeats. */
        double until = now_ms() + gap;
        for (int n; until > now_ms() && (n = epoll_wait(poll, ready, BATCH, gap)) > 0;)
            for (int i = 0; i < n; i++)
                if (read(((struct stream *)ready[i].data.ptr)->fd, buffer, BUFFER) <= 0) die("ended");
        for (int i = 0; i < streams; i++) all[i].told = all[i].match = 0;

        int size = snprintf(buffer, BUFFER, "%d\n", events);
        start = now_ms();
        if (write(control, buffer, size) != size) die("control");
        double newest = start;
        while (told < streams && now_ms() - newest < NEXT_WITHIN) {
            int n = epoll_wait(poll, ready, BATCH, NEXT_WITHIN / 10);
            for (int i = 0; i < n; i++) {
                struct stream *stream = ready[i].data.ptr;
                ssize_t count_read = read(stream->fd, buffer, BUFFER);
                if (count_read < 0 && errno == EAGAIN) continue;
                if (count_read <= 0) die("a connection ended");
                if (fetch && !stream->fetch) {
                    newest = now_ms();
                    if (fetched(stream, buffer, count_read)) times[told++] = newest - start;
                    continue;
                }
                long found = count(EVENT, &stream->match, buffer, count_read);
                if (!found) continue;
                newest = now_ms();
                got += found;
                stream->told += found;
                if (stream->told != events) continue;
                if (!fetch) {
                    times[told++] = newest - start;
                } else {
                    stream->fetch->left = -1;
                    if (write(stream->fetch->fd, request + length, fetch) != fetch) die("fetch");
                }
            }
        }
        qsort(times, told, sizeof *times, compare);
        if (told)
            printf("round %.2f %.2f %.2f %.2f %ld\n", times[0], times[told / 2], times[(told - 1) * 99 / 100],
                   times[told - 1], expected - got);
        else
            printf("round 0 0 0 0 %ld\n", expected - got);
        fflush(stdout);
    }
    return 0;
}
