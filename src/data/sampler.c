#include "data/data.h"

/* How often an epoch shows each anomalous image (docs/recipes.md). */
enum { ANOMALY_REPEATS = 4 };

BlemishStatus sampler_open(Sampler *s, size_t normals, size_t anomalies, bool supervised, bool flips, uint64_t seed,
                           Error *e) {
    *s = (Sampler){.normals = normals, .anomalies = anomalies, .supervised = supervised, .flips = flips, .seed = seed};
    if (normals == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "training images: found no good one, expected at least one");
    if (supervised && anomalies == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "training images: found no defect, supervised training expects at least one");
    if (normals > UINT32_MAX || anomalies > UINT32_MAX / (2 * ANOMALY_REPEATS))
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "training images: found %zu good and %zu defects, too many",
                         normals, anomalies);
    s->shown = array_new(normals, sizeof *s->shown, e);
    return s->shown ? BLEMISH_OK : e->status;
}

size_t sampler_epoch_length(const Sampler *s) {
    return s->supervised ? 2 * ANOMALY_REPEATS * s->anomalies : s->normals;
}

/* Takes `count` normal images off a shuffled order, always one of the least-shown next. */
static void draw_normals(Sampler *s, const size_t *order, Draw *draws, size_t count) {
    for (size_t taken = 0; taken < count;) {
        uint32_t least = UINT32_MAX;
        for (size_t i = 0; i < s->normals; i++)
            if (s->shown[i] < least) least = s->shown[i];
        for (size_t i = 0; i < s->normals && taken < count; i++) {
            if (s->shown[order[i]] != least) continue;
            s->shown[order[i]]++;
            draws[taken++] = (Draw){.sample = order[i], .flip = FLIP_NONE};
        }
    }
}

BlemishStatus sampler_epoch(Sampler *s, size_t epoch, Draw *draws, Error *e) {
    size_t length = sampler_epoch_length(s), wanted = s->supervised ? length / 2 : length, at = wanted;
    Random r = random_new(s->seed, mix64(fnv1a64("sampler", 7, FNV1A64_BASIS) + epoch));
    size_t *order = array_new(length > s->normals ? length : s->normals, sizeof *order, e);
    Draw *sorted = array_new(length, sizeof *sorted, e);
    if (order == NULL || sorted == NULL) {
        array_free(order);
        array_free(sorted);
        return e->status;
    }
    for (size_t i = 0; i < s->normals; i++) order[i] = i;
    random_shuffle(&r, order, s->normals);
    draw_normals(s, order, sorted, wanted);
    for (size_t i = 0; at < length; i++)
        for (unsigned flip = 0; flip < ANOMALY_REPEATS; flip++)
            sorted[at++] = (Draw){.sample = s->normals + i, .flip = s->flips ? (Flip)flip : FLIP_NONE};

    for (size_t i = 0; i < length; i++) order[i] = i;
    random_shuffle(&r, order, length);
    for (size_t i = 0; i < length; i++) draws[i] = sorted[order[i]];
    array_free(order);
    array_free(sorted);
    return BLEMISH_OK;
}

void sampler_close(Sampler *s) {
    array_free(s->shown);
    *s = (Sampler){0};
}
