/* The classification head's loops; included by kernels.c alone, for its vector types. */

/* Row of the band that tap number `tap` of output `at` reads, or SIZE_MAX in the zero padding. */
static inline size_t tap_row(size_t at, size_t tap, size_t out) {
    size_t r = at + tap;
    return r >= 2 && r - 2 < out ? r - 2 : SIZE_MAX;
}

static void cls_lift_x(const float *z, size_t pixel, const Band *x, float *t) {
    const size_t w = x->out, taps = x->taps;
    for (size_t o = 0; o < w; o++) {
        V acc[CLS_V] = {0};
        for (size_t v = 0; v < CLS_SIDE; v++) {
            size_t r = tap_row(o, v, w);
            if (r == SIZE_MAX) continue;
            for (size_t j = 0; j < taps; j++) {
                float weight = x->weight[r * taps + j];
                const float *s = z + (x->first[r] + j) * pixel + v * CLS_CHANNELS;
                UNROLL for (int k = 0; k < CLS_V; k++) acc[k] += weight * LOAD(s + k * LANES);
            }
        }
        UNROLL for (int k = 0; k < CLS_V; k++) STORE(t + o * CLS_CHANNELS + k * LANES, acc[k]);
    }
}

/* A row of t that some of CLS_ROWS output rows read, and what each of them weighs it with. */
typedef struct ClsTap {
    const float *row;
    float weight[CLS_ROWS];
} ClsTap;
enum { CLS_ROW_TAPS_MAX = CLS_SIDE * CLS_ROWS * BAND_TAPS_MAX };

static size_t cls_row_taps(const ClsMap *m, size_t y, size_t rows, size_t n, ClsTap *taps) {
    const Band *yb = m->y;
    size_t count = 0;
    for (size_t u = 0; u < CLS_SIDE; u++) {
        const size_t start = count;
        for (size_t k = 0; k < rows; k++) {
            const size_t r = tap_row(y + k, u, yb->out);
            if (r == SIZE_MAX) continue;
            for (size_t i = 0; i < yb->taps; i++) {
                if (yb->weight[r * yb->taps + i] == 0.0f) continue;
                const float *row = m->t + ((yb->first[r] + i) % m->ring * CLS_SIDE + u) * n;
                size_t at = start;
                while (at < count && taps[at].row != row) at++;
                if (at == count) taps[count++] = (ClsTap){.row = row};
                taps[at].weight[k] = yb->weight[r * yb->taps + i];
            }
        }
    }
    return count;
}

/* Neighbouring output rows read nearly the same rows of t: each is loaded once for CLS_ROWS of them. */
static void cls_lift_y(const ClsMap maps[2], size_t y, size_t rows, size_t w, const float *base, float *d) {
    enum { STEP = 4 };
    const size_t n = w * CLS_CHANNELS;
    ClsTap taps[2 * CLS_ROW_TAPS_MAX];
    size_t count = cls_row_taps(&maps[0], y, rows, n, taps);
    count += cls_row_taps(&maps[1], y, rows, n, taps + count);
    for (size_t i = 0; i < n; i += STEP * LANES) {
        V acc[CLS_ROWS][STEP] = {0};
        for (size_t r = 0; base && r < rows; r++)
            UNROLL for (size_t k = 0; k < STEP; k++) acc[r][k] = LOAD(base + r * n + i + k * LANES);
        for (size_t c = 0; c < count; c++) {
            V v[STEP];
            UNROLL for (int k = 0; k < STEP; k++) v[k] = LOAD(taps[c].row + i + (size_t)k * LANES);
            UNROLL for (int r = 0; r < CLS_ROWS; r++) UNROLL for (int k = 0; k < STEP; k++) acc[r][k] +=
                taps[c].weight[r] * v[k];
        }
        UNROLL for (size_t r = 0; r < CLS_ROWS; r++) {
            if (r == rows) break;
            UNROLL for (size_t k = 0; k < STEP; k++) STORE(d + r * n + i + k * LANES, acc[r][k]);
        }
    }
}

static void cls_project_y(const float *d, const Band *yb, size_t i, size_t w, float *t) {
    const size_t n = w * CLS_CHANNELS;
    memset(t, 0, CLS_SIDE * n * sizeof *t);
    for (size_t u = 0; u < CLS_SIDE; u++)
        for (size_t r = 0; r < yb->out; r++) {
            if (i < yb->first[r] || i >= yb->first[r] + yb->taps) continue;
            float weight = yb->weight[r * yb->taps + i - yb->first[r]];
            size_t y = r + 2 - u; /* the output row that reads band row r through tap u */
            if (weight == 0.0f || r + 2 < u || y >= yb->out) continue;
            for (size_t k = 0; k < n; k += LANES)
                STORE(t + u * n + k, LOAD(t + u * n + k) + weight * LOAD(d + y * n + k));
        }
}

static void cls_project_x(const float *t, const Band *x, float *z) {
    const size_t w = x->out, taps = x->taps;
    memset(z, 0, x->in * CLS_TAPS * CLS_CHANNELS * sizeof *z);
    for (size_t u = 0; u < CLS_SIDE; u++)
        for (size_t o = 0; o < w; o++) {
            V g[CLS_V];
            UNROLL for (int k = 0; k < CLS_V; k++) g[k] = LOAD(t + (u * w + o) * CLS_CHANNELS + k * LANES);
            for (size_t v = 0; v < CLS_SIDE; v++) {
                size_t r = tap_row(o, v, w);
                if (r == SIZE_MAX) continue;
                for (size_t j = 0; j < taps; j++) {
                    float weight = x->weight[r * taps + j];
                    float *s = z + ((x->first[r] + j) * CLS_TAPS + u * CLS_SIDE + v) * CLS_CHANNELS;
                    UNROLL for (int k = 0; k < CLS_V; k++) STORE(s + k * LANES, LOAD(s + k * LANES) + weight * g[k]);
                }
            }
        }
}

static void cls_map_row(const float *m, size_t h, size_t w, size_t y, const float *weight, float *d) {
    for (size_t x = 0; x < w; x++) {
        V acc[CLS_V];
        UNROLL for (int k = 0; k < CLS_V; k++) acc[k] = LOAD(d + x * CLS_CHANNELS + k * LANES);
        for (size_t u = 0; u < CLS_SIDE; u++) {
            size_t r = tap_row(y, u, h);
            if (r == SIZE_MAX) continue;
            for (size_t v = 0; v < CLS_SIDE; v++) {
                size_t c = tap_row(x, v, w);
                if (c == SIZE_MAX) continue;
                const float *tap = weight + (u * CLS_SIDE + v) * CLS_CHANNELS;
                UNROLL for (int k = 0; k < CLS_V; k++) acc[k] += m[r * w + c] * LOAD(tap + k * LANES);
            }
        }
        UNROLL for (int k = 0; k < CLS_V; k++) STORE(d + x * CLS_CHANNELS + k * LANES, acc[k]);
    }
}
