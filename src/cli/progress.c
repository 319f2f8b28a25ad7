#include "cli.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const double terminal_interval = 0.1, plain_interval = 5; // seconds

static atomic_bool stop_flag;

static sigset_t stop_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

static void *wait_for_signals(void *unused) {
    sigset_t set = stop_signals();
    int number;
    (void)unused;
    sigwait(&set, &number);
    atomic_store(&stop_flag, true);
    sigwait(&set, &number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    return NULL;
}

/* No signal handler: oneDNN's matrix products use the stack pointer for their own ends, so a handler that interrupts
 * them would have its frame written over the heap. All threads block the signals and one waits for them. */
void stop_on_signals(void) {
    sigset_t set = stop_signals();
    pthread_t thread;
    signal(SIGINT, SIG_DFL); // a shell's background job starts with it ignored
    signal(SIGTERM, SIG_DFL);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (pthread_create(&thread, NULL, wait_for_signals, NULL)) {
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    } else {
        pthread_detach(thread);
    }
}

bool stop_requested(void) {
    return atomic_load(&stop_flag);
}

double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_start(ProgressBar *bar, bool quiet) {
    const char *term = getenv("TERM");
    *bar = (ProgressBar){.quiet = quiet, .terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0};
}

void progress_end(ProgressBar *bar) {
    if (bar->pending) fputc('\n', stderr);
    bar->pending = false;
}

/* Asked at every drawing, so a window that changes its size needs no signal handler. */
static size_t terminal_width(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 2) return 80;
    return size.ws_col;
}

static void append(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void append(char *text, size_t size, const char *format, ...) {
    size_t length = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, size - length, format, arguments);
    va_end(arguments);
}

/* "loss 0.1234  210 images/s  ETA 1:05" */
static void describe(const BlemishProgress *p, char *text, size_t size) {
    bool bytes = !strcmp(p->stage, "download");
    text[0] = 0;
    if (isfinite(p->loss) && p->epochs) append(text, size, "  loss %.4f", p->loss);
    if (isfinite(p->items_per_second) && p->items_per_second > 0) {
        append(text, size, bytes ? "  %.1f MB/s" : "  %.1f images/s", p->items_per_second * (bytes ? 1e-6 : 1));
    }
    if (isfinite(p->seconds_left) && p->seconds_left >= 0 && p->seconds_left < 1e8) {
        long left = (long)(p->seconds_left + 0.5);
        if (left >= 3600) {
            append(text, size, "  ETA %ld:%02ld:%02ld", left / 3600, left / 60 % 60, left % 60);
        } else {
            append(text, size, "  ETA %ld:%02ld", left / 60, left % 60);
        }
    }
}

static void draw(ProgressBar *bar, const BlemishProgress *p) {
    char head[96] = "", tail[96], cells[64] = "";
    double part = p->total ? fmin(1, (double)p->done / (double)p->total) : 0;
    append(head, sizeof head, "%s", p->stage);
    if (p->epochs) append(head, sizeof head, " epoch %zu/%zu", p->epoch, p->epochs);
    append(head, sizeof head, " %3d %%", (int)(part * 100));
    describe(p, tail, sizeof tail);
    if (!bar->terminal) {
        fprintf(stderr, "%s%s\n", head, tail);
        return;
    }
    size_t room = terminal_width() - 1, used = strlen(head) + strlen(tail) + 3; // a full last column would wrap
    if (room >= used + 10) {
        size_t width = room - used < 40 ? room - used : 40, filled = (size_t)(part * (double)width);
        memset(cells, '-', width);
        memset(cells, '#', filled);
        cells[width] = 0;
    }
    char line[256];
    snprintf(line, sizeof line, *cells ? "%s [%s]%s" : "%s%s%s", head, cells, tail);
    fprintf(stderr, "\r%.*s\033[K", (int)(room < sizeof line ? room : sizeof line), line);
    bar->pending = true;
}

int progress_show(void *user, const BlemishProgress *p) {
    ProgressBar *bar = user;
    if (bar->quiet) return atomic_load(&stop_flag);
    bool new_stage = strncmp(bar->stage, p->stage, sizeof bar->stage - 1) != 0;
    bool last = p->done == p->total && (!p->epochs || p->epoch == p->epochs);
    double now = seconds_now(), interval = bar->terminal ? terminal_interval : plain_interval;
    if (new_stage) {
        progress_end(bar);
        snprintf(bar->stage, sizeof bar->stage, "%s", p->stage);
    }
    if (new_stage || last || now - bar->drawn >= interval) {
        draw(bar, p);
        bar->drawn = now;
    }
    return atomic_load(&stop_flag);
}
