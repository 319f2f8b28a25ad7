/* Part of kernels.c: Winograd's transforms and the products between them (winograd.c says how they fit together). */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Rows and vectors of a block of sums that fits the registers; ROWS divides WINOGRAD_ROWS. */
#if defined(__AVX512F__)
enum { ROWS = 8, COLUMNS = 2 };
#elif defined(__AVX2__) || defined(__aarch64__)
enum { ROWS = 4, COLUMNS = 1 };
#else
enum { ROWS = 2, COLUMNS = 1 };
#endif

/* B^T d along one axis: row p holds the coefficients of the product of all (x - p') but p's own; for infinity of all.
 */
ALWAYS_INLINE void points_from_input(int tile, const V *d, V *t) {
    if (tile == 2) { /* 0, 1, -1, infinity */
        t[0] = d[2] - d[0];
        t[1] = d[2] + d[1];
        t[2] = d[2] - d[1];
        t[3] = d[3] - d[1];
    } else { /* 0, 1, -1, 2, -1/2, infinity; q is x^i (x - 2) (x + 1/2) */
        V q[4], even = d[4] - d[2], odd = d[3] - d[1];
        UNROLL for (int i = 0; i < 4; i++) q[i] = d[i + 2] - 1.5f * d[i + 1] - d[i];
        t[0] = q[2] - q[0];
        t[1] = q[2] + q[1];
        t[2] = q[2] - q[1];
        t[3] = even + 0.5f * odd;
        t[4] = even - 2.0f * odd;
        t[5] = q[3] - q[1];
    }
}

/* A^T m along one axis: output i is the sum over the points of p^i m. */
ALWAYS_INLINE void outputs_from_points(int tile, const V *m, V *y) {
    V sum = m[1] + m[2], difference = m[1] - m[2];
    if (tile == 2) {
        y[0] = m[0] + sum;
        y[1] = difference + m[3];
    } else {
        y[0] = m[0] + sum + m[3] + m[4];
        y[1] = difference + 2.0f * m[3] - 0.5f * m[4];
        y[2] = sum + 4.0f * m[3] + 0.25f * m[4];
        y[3] = difference + 8.0f * m[3] - 0.125f * m[4] + m[5];
    }
}

ALWAYS_INLINE void winograd_input(int tile, const float *const *pixels, size_t channels, float *v, size_t stride) {
    const int side = tile + 2;
    for (size_t c = 0; c < channels; c += LANES, v += WINOGRAD_ROWS * LANES) {
        V half[6][6], line[6], t[6];
        UNROLL for (int j = 0; j < side; j++) {
            UNROLL for (int i = 0; i < side; i++) line[i] = LOAD(pixels[i * side + j] + c);
            points_from_input(tile, line, t);
            UNROLL for (int i = 0; i < side; i++) half[i][j] = t[i];
        }
        UNROLL for (int i = 0; i < side; i++) {
            points_from_input(tile, half[i], t);
            UNROLL for (int j = 0; j < side; j++) STORE(v + (size_t)(i * side + j) * stride, t[j]);
        }
    }
}

static void winograd_input_2(const float *const *pixels, size_t channels, float *v, size_t stride) {
    winograd_input(2, pixels, channels, v, stride);
}

static void winograd_input_4(const float *const *pixels, size_t channels, float *v, size_t stride) {
    winograd_input(4, pixels, channels, v, stride);
}

static void winograd_product(const float *v, const float *w, size_t channels, size_t rows, float *m) {
    /* Weights come from memory once: while a strip is multiplied, each block of rows fetches its share of the next one,
     * which processors that prefetch within pages alone would wait for. Past the end nothing is read. */
    const size_t share = WINOGRAD_STRIP * LANES * ROWS / rows;
    for (size_t n = 0; n < WINOGRAD_PANEL; n += WINOGRAD_STRIP, w += channels * WINOGRAD_STRIP)
        for (size_t r = 0; r < rows; r += ROWS)
            for (size_t s = 0; s < WINOGRAD_STRIP; s += COLUMNS * LANES) {
                const float *a = v + r / WINOGRAD_ROWS * WINOGRAD_ROWS * channels + r % WINOGRAD_ROWS * LANES;
                const float *b = w + s, *next = w + channels * WINOGRAD_STRIP + r / ROWS * share;
                V acc[ROWS][COLUMNS] = {{{0}}};
                for (size_t c = 0; c < channels; c += LANES) {
                    for (size_t i = 0; i < share; i += LANES) __builtin_prefetch(next + i, 0, 1);
                    for (size_t k = 0; k < LANES; k++, b += WINOGRAD_STRIP) {
                        V column[COLUMNS];
                        UNROLL for (int j = 0; j < COLUMNS; j++) column[j] = LOAD(b + j * LANES);
                        UNROLL for (int i = 0; i < ROWS; i++) UNROLL for (int j = 0; j < COLUMNS; j++) acc[i][j] +=
                            a[(size_t)i * LANES + k] * column[j];
                    }
                    a += WINOGRAD_ROWS * LANES;
                    next += WINOGRAD_STRIP * LANES;
                }
                float *at = m + r * WINOGRAD_PANEL + n + s;
                UNROLL for (int i = 0; i < ROWS; i++) UNROLL for (int j = 0; j < COLUMNS; j++)
                    STORE(at + i * WINOGRAD_PANEL + j * LANES, acc[i][j]);
            }
}

ALWAYS_INLINE void winograd_output(int tile, const float *m, size_t stride, const WinogradOutput *o, float *dst) {
    const int side = tile + 2;
    for (size_t c = 0; c < WINOGRAD_PANEL; c += LANES) {
        const V bias = LOAD(o->bias + c);
        V half[4][6], line[6], y[4];
        UNROLL for (int j = 0; j < side; j++) {
            UNROLL for (int i = 0; i < side; i++) line[i] = LOAD(m + (size_t)(i * side + j) * stride + c);
            outputs_from_points(tile, line, y);
            UNROLL for (int i = 0; i < tile; i++) half[i][j] = y[i];
        }
        UNROLL for (int i = 0; i < tile; i++) {
            if ((size_t)i >= o->height) break;
            outputs_from_points(tile, half[i], y);
            UNROLL for (int j = 0; j < tile; j++) {
                if ((size_t)j >= o->width) break;
                float *at = dst + (size_t)i * o->row + (size_t)j * o->pixel + c;
                V value = y[j] + bias;
                if (o->add) value += LOAD(at);
                /* A NaN is kept: it must not pass for a good part. */
                STORE(at, o->relu ? choose(value < 0.0f, (V){0}, value) : value);
            }
        }
    }
}

static void winograd_output_2(const float *m, size_t stride, const WinogradOutput *o, float *dst) {
    winograd_output(2, m, stride, o, dst);
}

static void winograd_output_4(const float *m, size_t stride, const WinogradOutput *o, float *dst) {
    winograd_output(4, m, stride, o, dst);
}
