#include "train/views.h"

#include <string.h>

/* One stream of random numbers of its own for everything that is drawn here. */
static Random stream(const Views *v, const char *name, uint64_t step, uint64_t place) {
    const uint64_t tag = fnv1a64(name, strlen(name), FNV1A64_BASIS);
    return random_new(v->recipe->seed, mix64(tag ^ mix64(step)) + place);
}

/* A vertical flip is a horizontal one of the image turned by 180 degrees, and both flips are that turn alone: where
 * images are turned, two of the four flips are enough. */
static Augmentation pose(const Views *v, unsigned turn, Flip flip) {
    Augmentation a = AUGMENT_NONE;
    const bool upside_down = v->turns > 1 && flip & FLIP_VERTICAL;
    a.turn = upside_down ? (turn + 2) % 4 : turn;
    a.flip = upside_down ? flip ^ FLIP_BOTH : flip;
    return a;
}

static size_t per_normal(const Views *v) {
    return v->turns * v->variants;
}

size_t views_per_anomaly(const Views *v) {
    return v->turns * v->flips * v->variants;
}

BlemishStatus views_open(Views *v, const Recipe *r, size_t normals, size_t anomalies, Error *e) {
    const bool random = r->brightness > 0 || r->contrast > 0 || r->shift > 0;
    *v = (Views){.recipe = r,
                 .normals = normals,
                 .anomalies = anomalies,
                 .turns = r->rotate ? 4 : 1,
                 .flips = r->flips ? (r->rotate ? 2 : 4) : 1,
                 .variants = random ? r->variants : 1};
    v->first = normals * per_normal(v);
    v->count = v->first + anomalies * views_per_anomaly(v);
    if (v->count == 0) return BLEMISH_OK;
    v->list = array_new(v->count, sizeof *v->list, e);
    if (v->list == NULL) return e->status;
    for (size_t i = 0; i < v->count; i++) {
        const size_t flips = i < v->first ? 1 : v->flips;
        const size_t at = (i < v->first ? i : i - v->first) / v->variants % (v->turns * flips);
        Random draws = stream(v, "variant", 0, i);
        v->list[i] = pose(v, (unsigned)(at / flips), (Flip)(at % flips * (v->turns > 1 ? FLIP_HORIZONTAL : 1)));
        augment_draw(&v->list[i], r, &draws);
    }
    return BLEMISH_OK;
}

void views_close(Views *v) {
    array_free(v->list);
    *v = (Views){0};
}

bool views_plain(const Views *v) {
    const Recipe *r = v->recipe;
    return !(r->rotate || r->brightness > 0 || r->contrast > 0 || r->shift > 0);
}

size_t views_image(const Views *v, size_t entry) {
    return entry < v->first ? entry / per_normal(v) : v->normals + (entry - v->first) / views_per_anomaly(v);
}

Showing views_show(const Views *v, Draw draw, uint64_t step, size_t place) {
    Random draws = stream(v, "showing", step, place);
    const unsigned turn = random_below(&draws, (uint32_t)v->turns);
    Showing s = {pose(v, turn, draw.flip), place};
    if (v->list == NULL) {
        augment_draw(&s.view, v->recipe, &draws);
        return s;
    }
    const size_t flip = v->turns > 1 ? s.view.flip / FLIP_HORIZONTAL : s.view.flip;
    const size_t variant = random_below(&draws, (uint32_t)v->variants);
    const bool anomalous = draw.sample >= v->normals;
    const size_t flips = anomalous ? v->flips : 1;
    const size_t first =
        anomalous ? v->first + (draw.sample - v->normals) * views_per_anomaly(v) : draw.sample * per_normal(v);
    s.entry = first + (s.view.turn * flips + flip) * v->variants + variant;
    s.view = v->list[s.entry];
    return s;
}
