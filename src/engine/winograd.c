/* Winograd's minimal filtering (Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016). A tile
 * of tile x tile outputs of a 3x3 convolution depends on side x side inputs, side = tile + 2. Along each axis inputs
 * and kernel are taken for polynomials and evaluated at `side` points, where a convolution is a product; the outputs
 * are found again from the products: y = A^T [ (G g G^T) . (B^T d B) ] A. The sum over input channels stays inside the
 * brackets, so that each of the side^2 points is one matrix product, tiles x in times in x out: 4 multiplications an
 * output for tile 2 and 2.25 for tile 4 instead of 9.
 *
 * The points are 0, 1, -1, infinity, and for tile 4 also 2 and -1/2: of the sets of small fractions the one that rounds
 * least (docs/architecture.md). B^T and A^T are written out in kernels_winograd.h.
 *
 * What is between two transforms should stay in a core's cache, so the tiles go in groups: a group's inputs are
 * transformed, then every item, ITEM_TILES of its tiles times WINOGRAD_PANEL output channels, is multiplied and
 * transformed back by one thread. No sum depends on how tiles are grouped. */
#include "engine/winograd.h"

#include "engine/kernels.h"

#include <omp.h>

enum { LANES = 16, SIDE_MAX = 6, POINTS_MAX = SIDE_MAX * SIDE_MAX, ITEM_TILES = 64 };

struct Winograd {
    ConvShape shape;
    const Kernels *kernels;
    size_t tile, side, points;
    size_t rows, columns, tiles; /* of tiles: in an image, and in the batch */
    size_t group, stride;        /* tiles of a group; floats between two points of it */
    int threads;
    float *weight; /* (out / STRIP, points, in, STRIP), but the strips of a panel side by side */
    float *bias;   /* out */
};

static size_t ceil_div(size_t a, size_t b) {
    return (a + b - 1) / b;
}

size_t winograd_tile(const ConvShape *s) {
    if (s->from != ELEMENT_F32 || s->kernel != 3 || s->stride != 1 || s->padding != 1 || s->in % LANES ||
        s->out % WINOGRAD_PANEL)
        return 0;
    /* Tile 4 reads 36 numbers for every 9 of the kernel, tile 2 reads 16. Too few tiles do not pay for that. A batch
     * would, but its images must get the bits that they get alone. */
    if (ceil_div(s->height, 4) * ceil_div(s->width, 4) >= 32) return 4;
    return ceil_div(s->height, 2) * ceil_div(s->width, 2) >= 32 ? 2 : 0;
}

/* ---- weights --------------------------------------------------------------------------------------------- */

/* G (side, 3): row p is (1, p, p^2) over the product of p's distances from the other points. */
static void weight_matrix(size_t side, double g[SIDE_MAX][3]) {
    static const double points[SIDE_MAX - 1] = {0, 1, -1, 2, -0.5};
    for (size_t p = 0; p + 1 < side; p++) {
        double distances = 1;
        for (size_t q = 0; q + 1 < side; q++)
            if (q != p) distances *= points[p] - points[q];
        for (size_t k = 0; k < 3; k++) g[p][k] = (k == 0 ? 1 : g[p][k - 1] * distances * points[p]) / distances;
    }
    g[side - 1][0] = g[side - 1][1] = 0;
    g[side - 1][2] = 1;
}

/* Point p of G w G^T goes to u[p * stride]. */
static void weight_transform(const double g[SIDE_MAX][3], size_t side, const float w[9], float *u, size_t stride) {
    for (size_t i = 0; i < side; i++) {
        double half[3];
        for (size_t v = 0; v < 3; v++)
            half[v] = g[i][0] * (double)w[v] + g[i][1] * (double)w[3 + v] + g[i][2] * (double)w[6 + v];
        for (size_t j = 0; j < side; j++)
            u[(i * side + j) * stride] = (float)(half[0] * g[j][0] + half[1] * g[j][1] + half[2] * g[j][2]);
    }
}

static void pack_weights(Winograd *w, const float *weight) {
    const size_t in = w->shape.in, panel = w->points * in * WINOGRAD_PANEL;
    double g[SIDE_MAX][3];
    weight_matrix(w->side, g);
#pragma omp parallel for schedule(static) num_threads(w->threads)
    for (size_t first = 0; first < w->shape.out; first += WINOGRAD_STRIP) {
        float *strip =
            w->weight + first / WINOGRAD_PANEL * panel + first % WINOGRAD_PANEL / WINOGRAD_STRIP * in * WINOGRAD_STRIP;
        for (size_t i = 0; i < in; i++)
            for (size_t o = 0; o < WINOGRAD_STRIP; o++)
                weight_transform(g, w->side, weight + ((first + o) * in + i) * 9, strip + i * WINOGRAD_STRIP + o,
                                 in * WINOGRAD_PANEL);
    }
}

BlemishStatus winograd_open(Winograd **out, const ConvShape *shape, size_t tile, const float *weight, const float *bias,
                            int threads, Error *e) {
    Winograd *w = *out = array_new(1, sizeof *w, e);
    if (w == NULL) return e->status;
    *w = (Winograd){.shape = *shape, .kernels = kernels(), .tile = tile, .side = tile + 2, .threads = threads};
    w->points = w->side * w->side;
    w->rows = ceil_div(shape->height, tile);
    w->columns = ceil_div(shape->width, tile);
    w->tiles = shape->batch * w->rows * w->columns;
    const size_t group = (size_t)threads * ITEM_TILES, all = ceil_div(w->tiles, WINOGRAD_ROWS) * WINOGRAD_ROWS;
    w->group = all < group ? all : group;
    w->stride = w->group * shape->in + LANES; /* not a power of two: the points' cache sets must differ */
    w->weight = array_new(w->points * shape->in * shape->out, sizeof *w->weight, e);
    w->bias = array_new(shape->out, sizeof *w->bias, e);
    if (w->weight == NULL || w->bias == NULL) {
        winograd_close(w);
        *out = NULL;
        return e->status;
    }
    pack_weights(w, weight);
    for (size_t o = 0; bias && o < shape->out; o++) w->bias[o] = bias[o];
    return BLEMISH_OK;
}

void winograd_close(Winograd *w) {
    if (w == NULL) return;
    array_free(w->weight);
    array_free(w->bias);
    array_free(w);
}

/* ---- running --------------------------------------------------------------------------------------------- */

/* Floats of one thread's sums: (points, tiles, PANEL), the points a little apart for the cache's sake. */
static size_t sums_stride(size_t tiles) {
    return tiles * WINOGRAD_PANEL + LANES;
}

size_t winograd_scratch(const Winograd *w) {
    const size_t sums = (size_t)w->threads * w->points * sums_stride(ITEM_TILES);
    return (w->points * w->stride + sums + w->shape.in) * sizeof(float);
}

/* The pixel of output row y and column x. */
static size_t pixel_of(const Winograd *w, size_t tile, size_t *y, size_t *x) {
    *y = tile / w->columns % w->rows * w->tile;
    *x = tile % w->columns * w->tile;
    return tile / (w->rows * w->columns) * w->shape.height * w->shape.width;
}

static void tile_input(const Winograd *w, size_t tile, const float *src, const float *zeros, float *v) {
    const ConvShape *s = &w->shape;
    const float *pixels[POINTS_MAX];
    size_t top, left;
    src += pixel_of(w, tile, &top, &left) * s->in;
    for (size_t p = 0; p < w->points; p++) {
        const size_t y = top + p / w->side - 1, x = left + p % w->side - 1; /* from -1: the padding */
        pixels[p] = y < s->height && x < s->width ? src + (y * s->width + x) * s->in : zeros;
    }
    (w->tile == 2 ? w->kernels->winograd_input_2 : w->kernels->winograd_input_4)(pixels, s->in, v, w->stride);
}

static void tile_output(const Winograd *w, size_t tile, size_t channel, const float *sums, size_t stride, float *dst) {
    const ConvShape *s = &w->shape;
    size_t y, x;
    const size_t image = pixel_of(w, tile, &y, &x);
    const WinogradOutput o = {.bias = w->bias + channel,
                              .height = s->height - y,
                              .width = s->width - x,
                              .row = s->width * s->out,
                              .pixel = s->out,
                              .add = s->add,
                              .relu = s->relu};
    (w->tile == 2 ? w->kernels->winograd_output_2 : w->kernels->winograd_output_4)(
        sums, stride, &o, dst + (image + y * s->width + x) * s->out + channel);
}

/* Products and outputs of `count` tiles from tile `first` in one panel; v is at the first of them. */
static void item_run(const Winograd *w, size_t first, size_t count, size_t panel, const float *v, float *sums,
                     float *dst) {
    const size_t rows = ceil_div(count, WINOGRAD_ROWS) * WINOGRAD_ROWS, stride = sums_stride(rows);
    const size_t in = w->shape.in, weights = in * WINOGRAD_PANEL;
    for (size_t p = 0; p < w->points; p++)
        w->kernels->winograd_product(v + p * w->stride, w->weight + (panel * w->points + p) * weights, in, rows,
                                     sums + p * stride);
    for (size_t t = 0; t < count; t++)
        tile_output(w, first + t, panel * WINOGRAD_PANEL, sums + t * WINOGRAD_PANEL, stride, dst);
}

void winograd_run(const Winograd *w, const float *src, float *dst, void *scratch) {
    const size_t in = w->shape.in, panels = w->shape.out / WINOGRAD_PANEL;
    float *v = scratch, *zeros = v + w->points * w->stride, *sums = zeros + in;
    for (size_t i = 0; i < in; i++) zeros[i] = 0;
    size_t item = ITEM_TILES; /* smaller where threads would have nothing to do */
    while (item > WINOGRAD_ROWS && ceil_div(w->group, item) * panels < (size_t)w->threads) item /= 2;
#pragma omp parallel num_threads(w->threads)
    for (size_t start = 0; start < w->tiles; start += w->group) {
        const size_t count = w->tiles - start < w->group ? w->tiles - start : w->group;
        /* Both loops give a thread the same tiles where there are items enough: they are in its cache. */
#pragma omp for schedule(static)
        for (size_t t = 0; t < count; t++)
            tile_input(w, start + t, src, zeros,
                       v + t / WINOGRAD_ROWS * WINOGRAD_ROWS * in + t % WINOGRAD_ROWS * LANES);
#pragma omp for schedule(static)
        for (size_t i = 0; i < ceil_div(count, item) * panels; i++) {
            const size_t first = i / panels * item;
            item_run(w, start + first, count - first < item ? count - first : item, i % panels, v + first * in,
                     sums + (size_t)omp_get_thread_num() * w->points * sums_stride(ITEM_TILES), dst);
        }
    }
}
