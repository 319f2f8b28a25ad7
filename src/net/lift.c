#include "net/net.h"

BlemishStatus geometry_make(Geometry *g, size_t height, size_t width, size_t c2, size_t c3, Error *e) {
    enum { SMALLEST = 32, LARGEST = 16384 };
    if (height < SMALLEST || width < SMALLEST || height > LARGEST || width > LARGEST)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "input size: found %zux%zu, expected %d to %d pixels a side",
                         height, width, SMALLEST, LARGEST);
    /* Four halvings, each rounding up: the stem's convolution and pooling, layer2's and layer3's first block. */
    size_t half[2] = {height, width};
    for (int i = 0; i < 2; i++) half[i] = (((half[i] + 1) / 2 + 1) / 2 + 1) / 2;
    *g = (Geometry){.height = height,
                    .width = width,
                    .h2 = half[0],
                    .w2 = half[1],
                    .h3 = (half[0] + 1) / 2,
                    .w3 = (half[1] + 1) / 2,
                    .h = 2 * half[0],
                    .w = 2 * half[1],
                    .c2 = c2,
                    .c3 = c3,
                    .c = c2 + c3};
    return BLEMISH_OK;
}

void geometry_at_layer2(Geometry *g) {
    g->h = g->h2;
    g->w = g->w2;
}

BlemishStatus lift_open(Lift *lift, const Geometry *g, bool align_corners, Error *e) {
    *lift = (Lift){0};
    if (band_lift(&lift->y2, g->h2, g->h, align_corners, e) || band_lift(&lift->x2, g->w2, g->w, align_corners, e) ||
        band_lift(&lift->y3, g->h3, g->h, align_corners, e) || band_lift(&lift->x3, g->w3, g->w, align_corners, e)) {
        lift_close(lift);
        return e->status;
    }
    return BLEMISH_OK;
}

void lift_close(Lift *lift) {
    band_close(&lift->y2);
    band_close(&lift->x2);
    band_close(&lift->y3);
    band_close(&lift->x3);
}

BlemishStage lift_work(const Lift *lift, size_t hidden, bool classification) {
    const size_t h = lift->y2.out, w = lift->x2.out, mixes = classification ? (size_t)CLS_TAPS * CLS_CHANNELS : 0;
    const Band *const maps[2][2] = {{&lift->y2, &lift->x2}, {&lift->y3, &lift->x3}};
    size_t macs = h * w * (hidden + mixes), floats = 0;
    for (size_t i = 0; i < 2; i++) {
        const Band *y = maps[i][0], *x = maps[i][1];
        macs += h * hidden * (y->taps * x->in + x->taps * w); /* along y, then along x */
        macs += mixes * w * y->in * x->taps;                  /* cls_lift_x */
        macs += mixes / CLS_SIDE * h * w * y->taps;           /* cls_lift_y */
        floats += y->in * x->in * (hidden + mixes);
    }
    return (BlemishStage){.gmac = 1e-9 * (double)macs, .gb = 1e-9 * (double)(floats * sizeof(float))};
}
