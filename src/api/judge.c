#include "api/api.h"

#include <math.h>
#include <string.h>

size_t count_labelled(const Manifest *manifest, BlemishSplit split, BlemishLabel label) {
    size_t n = 0;
    for (size_t i = 0; i < manifest->count; i++)
        n += manifest->samples[i].split == split && manifest->samples[i].label == label;
    return n;
}

static BlemishStatus load_mask(MaskReader *reader, Judged *j, const Geometry *g, Error *e) {
    BlemishImage mask;
    if (j->sample->mask_path == NULL) return BLEMISH_OK;
    if (mask_read(reader, j->sample->mask_path, j->sample->path, &mask, e)) return e->status;
    if (mask.data == NULL) return BLEMISH_OK;
    size_t marked = 0;
    for (size_t i = 0; i < mask.height * mask.width; i++) marked += mask.data[i];
    if (marked) j->defect_area = (double)marked / (double)mask.height / (double)mask.width;
    if ((j->mask = array_new(g->height * g->width, sizeof *j->mask, e)) != NULL)
        mask_resize_nearest(mask.data, mask.height, mask.width, j->mask, g->height, g->width);
    image_free(&mask);
    if (j->mask == NULL) return e->status;
    if (memchr(j->mask, 1, g->height * g->width) ==
        NULL) { /* too small for the network's input: as if there were none */
        array_free(j->mask);
        j->mask = NULL;
    }
    return BLEMISH_OK;
}

static BlemishStatus judge(Session *session, MaskReader *reader, const Sample *sample, JudgedFn each, void *user,
                           Error *e) {
    Judged j = {.sample = sample, .defect_area = NAN};
    double start = now_seconds();
    if (image_decode(&j.image, sample->path, e)) return e->status;
    BlemishStatus status = session_run(session, &j.image, 1, &j.result, e);
    j.seconds = now_seconds() - start;
    if (status == BLEMISH_OK) status = load_mask(reader, &j, &session->model->geometry, e);
    if (status == BLEMISH_OK) status = each(user, &j, e);
    array_free(j.mask);
    image_free(&j.image);
    return status;
}

BlemishStatus judge_split(Session *session, const Manifest *manifest, BlemishSplit split, JudgedFn each, void *user,
                          BlemishProgressFn progress, void *progress_user, Error *e) {
    BlemishProgress p = {.stage = "evaluate", .loss = NAN, .seconds_left = -1};
    for (size_t i = 0; i < manifest->count; i++) p.total += manifest->samples[i].split == split;
    if (p.total == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "data set: found no %s image",
                         split == BLEMISH_SPLIT_TEST ? "test" : "training");
    double start = now_seconds();
    MaskReader reader = {0};
    BlemishStatus status = BLEMISH_OK;
    for (size_t i = 0; i < manifest->count && status == BLEMISH_OK; i++) {
        if (manifest->samples[i].split != split) continue;
        status = judge(session, &reader, &manifest->samples[i], each, user, e);
        if (status != BLEMISH_OK) break;
        p.done++;
        double seconds = now_seconds() - start;
        p.items_per_second = seconds > 0 ? (double)p.done / seconds : 0;
        p.seconds_left = seconds * (double)(p.total - p.done) / (double)p.done;
        if (progress && progress(progress_user, &p))
            status =
                error_set(e, BLEMISH_ERROR_INTERRUPTED, "evaluation: stopped after %zu of %zu images", p.done, p.total);
    }
    mask_reader_close(&reader);
    return status;
}
