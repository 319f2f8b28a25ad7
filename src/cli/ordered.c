#include "ordered.h"

#include <pthread.h>

typedef struct State {
    const Ordered *job;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t taken, handed;
    bool worked[ORDERED_SLOTS], ended;
} State;

typedef struct Worker {
    State *state;
    size_t number;
} Worker;

/* The next item into *item, once a slot is free; false when there is none to be had. */
static bool take(State *s, size_t *item) {
    const Ordered *job = s->job;
    pthread_mutex_lock(&s->lock);
    while (!s->ended && s->taken < job->count && s->taken == s->handed + ORDERED_SLOTS)
        pthread_cond_wait(&s->changed, &s->lock);
    const bool found = !s->ended && s->taken < job->count && !job->stop();
    if (found) {
        *item = s->taken++;
        job->take(job->user, *item, *item % ORDERED_SLOTS);
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

static void end(State *s) {
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* Hands over what is complete; whoever worked on the first item missing does it. */
static void hand_over(State *s, size_t item) {
    const Ordered *job = s->job;
    pthread_mutex_lock(&s->lock);
    s->worked[item % ORDERED_SLOTS] = true;
    while (!s->ended && s->handed < s->taken && s->worked[s->handed % ORDERED_SLOTS]) {
        s->worked[s->handed % ORDERED_SLOTS] = false;
        if (job->hand_over(job->user, s->handed, s->handed % ORDERED_SLOTS))
            s->handed++;
        else
            s->ended = true;
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void *work(void *argument) {
    const Worker *worker = argument;
    State *s = worker->state;
    const Ordered *job = s->job;
    if (!job->start(job->user, worker->number)) {
        end(s);
        return NULL;
    }
    for (size_t item; take(s, &item);) {
        job->work(job->user, worker->number, item, item % ORDERED_SLOTS);
        hand_over(s, item);
    }
    return NULL;
}

size_t ordered_run(const Ordered *job) {
    State s = {.job = job, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pthread_t threads[ORDERED_WORKERS_MAX];
    Worker workers[ORDERED_WORKERS_MAX];
    size_t count = 1;
    for (size_t i = 0; i < ORDERED_WORKERS_MAX; i++) workers[i] = (Worker){&s, i};
    while (count < job->workers && count < ORDERED_WORKERS_MAX &&
           !pthread_create(&threads[count], NULL, work, &workers[count]))
        count++;
    work(&workers[0]);
    for (size_t i = 1; i < count; i++) pthread_join(threads[i], NULL);
    return s.handed;
}
