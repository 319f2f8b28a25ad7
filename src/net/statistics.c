#include "net/net.h"

BlemishStatus statistics_open(Statistics *s, const Trunk *trunk, Error *e) {
    *s = (Statistics){.ranges = array_new(TRUNK_CONVS_MAX, sizeof *s->ranges, e)};
    s->features[0] = array_new(trunk->c2 * trunk->c2, sizeof(float), e);
    s->features[1] = array_new(trunk->c3 * trunk->c3, sizeof(float), e);
    bool full = s->ranges && s->features[0] && s->features[1];
    for (size_t i = 0; i < trunk->count && full; i++) {
        const size_t per = trunk->convs[i].in * trunk->convs[i].kernel * trunk->convs[i].kernel;
        if (per > PATCH_MAX) continue;
        s->patches[i] = array_new(per * per, sizeof(float), e);
        full = s->patches[i] != NULL;
    }
    if (!full) statistics_close(s);
    return e->status;
}

typedef struct Observer {
    Statistics *statistics;
    Engine *engine;
    const Trunk *trunk;
} Observer;

static BlemishStatus observe(void *user, size_t conv, const float *input, size_t height, size_t width,
                             const float *result, size_t count, Error *e) {
    const Observer *o = user;
    float *patches = o->statistics->patches[conv];
    range_add(&o->statistics->ranges[conv], result, count);
    return patches ? moments_add(patches, o->engine, &o->trunk->convs[conv], input, height, width, e) : BLEMISH_OK;
}

BlemishStatus statistics_add(Statistics *s, Engine *engine, const Trunk *trunk, Backbone *backbone, const Geometry *g,
                             Error *e) {
    Observer observer = {s, engine, trunk};
    const void *f2, *f3;
    backbone_observe(backbone, observe, &observer);
    BlemishStatus status = backbone_run(backbone, &f2, &f3, e);
    backbone_observe(backbone, NULL, NULL);
    if (status == BLEMISH_OK) status = moments_add_map(s->features[0], engine, f2, g->h2 * g->w2, g->c2, e);
    if (status == BLEMISH_OK) status = moments_add_map(s->features[1], engine, f3, g->h3 * g->w3, g->c3, e);
    return status;
}

void statistics_close(Statistics *s) {
    array_free(s->ranges);
    for (size_t i = 0; i < TRUNK_CONVS_MAX; i++) array_free(s->patches[i]);
    array_free(s->features[0]), array_free(s->features[1]);
    *s = (Statistics){0};
}
