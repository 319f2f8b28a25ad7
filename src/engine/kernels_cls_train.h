/* The classification head's loops that only training needs; included by kernels.c alone, for its vector types. */

/* Output row or column that tap `tap` carries an input at `at` to, or SIZE_MAX outside the map. */
static inline size_t tap_target(size_t at, size_t tap, size_t out) {
    return at + 2 >= tap && at + 2 - tap < out ? at + 2 - tap : SIZE_MAX;
}

static void cls_scatter(const float *mix, size_t h, size_t w, size_t y, size_t x, size_t c0, size_t count, float *d) {
    for (size_t u = 0; u < CLS_SIDE; u++) {
        const size_t r = tap_target(y, u, h);
        if (r == SIZE_MAX) continue;
        for (size_t v = 0; v < CLS_SIDE; v++) {
            const size_t c = tap_target(x, v, w);
            if (c == SIZE_MAX) continue;
            const float *from = mix + (u * CLS_SIDE + v) * CLS_CHANNELS;
            float *to = d + (r * w + c) * CLS_CHANNELS;
            for (size_t k = c0; k < c0 + count; k += LANES) STORE(to + k, LOAD(to + k) + LOAD(from + k));
        }
    }
}

static void cls_gather(const void *d, size_t size, size_t h, size_t w, size_t y, size_t x, void *mix) {
    const size_t pixel = CLS_CHANNELS * size;
    for (size_t u = 0; u < CLS_SIDE; u++) {
        const size_t r = tap_target(y, u, h);
        for (size_t v = 0; v < CLS_SIDE; v++) {
            const size_t c = tap_target(x, v, w);
            uint8_t *to = (uint8_t *)mix + (u * CLS_SIDE + v) * pixel;
            if (r == SIZE_MAX || c == SIZE_MAX)
                memset(to, 0, pixel);
            else
                memcpy(to, (const uint8_t *)d + (r * w + c) * pixel, pixel);
        }
    }
}

/* One expression for forward and backward, so that "is the maximum" finds the very same bits again. */
static inline V cls_activation(const float *d, V scale, V shift) {
    V y = scale * LOAD(d) + shift;
    return choose(y > 0.0f, y, (V){0});
}

static void cls_pool(const float *rows, size_t n, const float *scale, const float *shift, float *max, float *sum,
                     float *ties) {
    for (size_t c = 0; c < CLS_CHANNELS; c += LANES) {
        const V a = LOAD(scale + c), b = LOAD(shift + c);
        V m = LOAD(max + c), s = {0}, t = LOAD(ties + c);
        for (size_t i = 0; i < n; i++) {
            const V y = cls_activation(rows + i * CLS_CHANNELS + c, a, b);
            t = choose(y > m, (V){0} + 1.0f, t + choose(y == m, (V){0} + 1.0f, (V){0}));
            m = choose(y > m, y, m);
            s += y;
        }
        STORE(max + c, m);
        STORE(ties + c, t);
        STORE(sum + c, LOAD(sum + c) + s);
    }
}

static inline V cls_dy(const ClsBlock *b, size_t c, V y) {
    V dy = LOAD(b->dmean + c) + choose(y == LOAD(b->max + c), LOAD(b->dmax + c), (V){0});
    return choose(y > 0.0f, dy, (V){0});
}

static void cls_grad_sums(const float *rows, size_t n, const ClsBlock *b, float *sums) {
    for (size_t c = 0; c < CLS_CHANNELS; c += LANES) {
        const V scale = LOAD(b->scale + c), shift = LOAD(b->shift + c);
        const V mean = LOAD(b->mean + c), inv_std = LOAD(b->inv_std + c);
        V s0 = {0}, s1 = {0};
        for (size_t i = 0; i < n; i++) {
            const float *d = rows + i * CLS_CHANNELS + c;
            const V dy = cls_dy(b, c, cls_activation(d, scale, shift));
            s0 += dy;
            s1 += dy * ((LOAD(d) - mean) * inv_std);
        }
        STORE(sums + c, LOAD(sums + c) + s0);
        STORE(sums + CLS_CHANNELS + c, LOAD(sums + CLS_CHANNELS + c) + s1);
    }
}

static void cls_grad_rows(float *rows, size_t n, const ClsBlock *b, const float *mean_dy, const float *mean_dy_xhat) {
    for (size_t c = 0; c < CLS_CHANNELS; c += LANES) {
        const V scale = LOAD(b->scale + c), shift = LOAD(b->shift + c);
        const V mean = LOAD(b->mean + c), inv_std = LOAD(b->inv_std + c);
        const V k0 = LOAD(mean_dy + c), k1 = LOAD(mean_dy_xhat + c);
        for (size_t i = 0; i < n; i++) {
            float *d = rows + i * CLS_CHANNELS + c;
            const V dy = cls_dy(b, c, cls_activation(d, scale, shift));
            STORE(d, scale * (dy - k0 - (LOAD(d) - mean) * inv_std * k1));
        }
    }
}

static void cls_map_grad_weight(const float *m, size_t h, size_t w, size_t y, const float *d, float *dweight) {
    for (size_t u = 0; u < CLS_SIDE; u++) {
        const size_t r = tap_row(y, u, h);
        if (r == SIZE_MAX) continue;
        for (size_t v = 0; v < CLS_SIDE; v++) {
            float *to = dweight + (u * CLS_SIDE + v) * CLS_CHANNELS;
            V acc[CLS_V] = {0};
            for (size_t x = 0; x < w; x++) {
                const size_t c = tap_row(x, v, w);
                if (c == SIZE_MAX) continue;
                UNROLL for (int k = 0; k < CLS_V; k++) acc[k] += m[r * w + c] * LOAD(d + x * CLS_CHANNELS + k * LANES);
            }
            UNROLL for (int k = 0; k < CLS_V; k++) STORE(to + k * LANES, LOAD(to + k * LANES) + acc[k]);
        }
    }
}

static void cls_map_grad_map(const float *d, size_t h, size_t w, size_t y, const float *weight, float *dm) {
    for (size_t x = 0; x < w; x++) {
        V g[CLS_V];
        UNROLL for (int k = 0; k < CLS_V; k++) g[k] = LOAD(d + x * CLS_CHANNELS + k * LANES);
        for (size_t u = 0; u < CLS_SIDE; u++) {
            const size_t r = tap_row(y, u, h);
            if (r == SIZE_MAX) continue;
            for (size_t v = 0; v < CLS_SIDE; v++) {
                const size_t c = tap_row(x, v, w);
                if (c == SIZE_MAX) continue;
                const float *tap = weight + (u * CLS_SIDE + v) * CLS_CHANNELS;
                V acc = {0};
                UNROLL for (int k = 0; k < CLS_V; k++) acc += g[k] * LOAD(tap + k * LANES);
                dm[r * w + c] += sum_lanes(acc);
            }
        }
    }
}
