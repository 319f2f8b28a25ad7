/* Items worked on by several threads at once and handed over in their order. */
#ifndef BLEMISH_CLI_ORDERED_H
#define BLEMISH_CLI_ORDERED_H

#include <stdbool.h>
#include <stddef.h>

/* Threads at most; items taken but not handed over yet, at most: each has a slot below that number for what it needs.
 */
enum { ORDERED_WORKERS_MAX = 4, ORDERED_SLOTS = 4 * ORDERED_WORKERS_MAX };

typedef struct Ordered {
    size_t count, workers;
    void *user;
    /* In a worker's thread, before its first item. False ends the run. */
    bool (*start)(void *user, size_t worker);
    /* In the order of the items, one at a time: what depends on the items before. */
    void (*take)(void *user, size_t item, size_t slot);
    /* As many at a time as there are workers. */
    void (*work)(void *user, size_t worker, size_t item, size_t slot);
    /* In the order of the items, one at a time. False ends the run: nothing more is handed over. */
    bool (*hand_over)(void *user, size_t item, size_t slot);
    bool (*stop)(void); /* asked before each item: true takes no more; what was taken is finished */
} Ordered;

/* Returns how many items were handed over: the first ones, without a gap. The calling thread is worker 0; where threads
 * cannot be made, fewer work. */
size_t ordered_run(const Ordered *job);

#endif
