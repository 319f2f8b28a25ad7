/* The hot loops that are not matrix products, built once per instruction set from kernels.c. Their plain twins are
 * in tests/test_kernels*.c.
 *
 * Lifting (design: docs/architecture.md) is a banded matrix per axis: bilinear upsampling with the 3-tap average
 * folded in. A row of lifted values is produced for LIFT_BLOCK channels at a time so that it stays in the
 * first-level cache. */
#ifndef BLEMISH_KERNELS_H
#define BLEMISH_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIFT_BLOCK 64    /* channels a lifted row holds */
#define CLS_CHANNELS 128 /* the classification head's width */
#define CLS_SIDE 5       /* and its kernel's */
#define CLS_TAPS 25
#define CLS_ROW_MIXES (CLS_SIDE * CLS_CHANNELS) /* of a pixel, for one row of the kernel */
#define CLS_ROWS 4                              /* output rows lifted at once */

/* out x in matrix whose row r is non-zero only at columns first[r] .. first[r] + taps - 1 (all within in). The
 * classification kernels take at most BAND_TAPS_MAX taps; upsampling makes at most 4. */
#define BAND_TAPS_MAX 16
typedef struct Band {
    size_t out, in, taps;
    size_t *first; /* out */
    float *weight; /* out x taps */
} Band;

/* A low-resolution map (y->in, x->in, channels at `stride`) and the bands that lift it. */
typedef struct LiftMap {
    const float *data;
    size_t stride;
    const Band *y, *x;
    size_t top; /* the map's row that data begins with; only rows that are read need be there */
} LiftMap;
/* Channel mixes lifted along x, (5, w, 128) for each row of a low-resolution map, and the band that lifts them along y.
 * Row i of the map is row i % ring of t; only rows that are read need be there. */
typedef struct ClsMap {
    const float *t;
    size_t ring;
    const Band *y;
} ClsMap;
typedef struct LiftGrad {
    float *data;
    size_t stride;
    const Band *y, *x;
} LiftGrad;

/* Per-channel numbers of one block, each LIFT_BLOCK long. */
typedef struct SegBlock {
    const float *scale, *shift;  /* BatchNorm: y = scale * v + shift */
    const float *out;            /* the 1x1 convolution to one channel */
    const float *mean, *inv_std; /* training only: x_hat = (v - mean) * inv_std */
} SegBlock;

/* The classification head's 128 channels in training, for one image. */
typedef struct ClsBlock {
    const float *scale, *shift;  /* BatchNorm: y = relu(scale * v + shift) */
    const float *mean, *inv_std; /* x_hat = (v - mean) * inv_std */
    const float *max, *dmax;     /* largest y of the image, and the gradient of each pixel that has it */
    const float *dmean;          /* gradient of every pixel */
} ClsBlock;

#define WINOGRAD_STRIP 32 /* output channels whose weights lie together */
#define WINOGRAD_PANEL 64 /* output channels whose sums do */
#define WINOGRAD_ROWS 8   /* tiles come in multiples of this */

/* A tile's outputs: y = relu?(sum + bias + add? y) at dst + row * i + pixel * j, for i < height and j < width. */
typedef struct WinogradOutput {
    const float *bias; /* WINOGRAD_PANEL */
    size_t height, width;
    size_t row, pixel; /* floats from a pixel to the one below it and to the next */
    bool add, relu;
} WinogradOutput;

typedef struct Kernels {
    const char *name;
    /* out (w, LIFT_BLOCK) = sum over maps of lifted row y, channels c0 .. c0 + LIFT_BLOCK - 1.
     * scratch: (largest x->in) * LIFT_BLOCK floats. */
    void (*lift_row)(const LiftMap *maps, size_t count, size_t y, size_t c0, float *scratch, float *out);
    /* The transpose: data += lift^T (row y of g). */
    void (*project_row)(const LiftGrad *grads, size_t count, size_t y, size_t c0, float *scratch, const float *g);
    /* A row of map logits in one pass, m (w) = sum over `channels` (a multiple of LIFT_BLOCK) of out * leaky_relu(v +
     * shift), v lifted from both maps. scratch: 16 w + LIFT_BLOCK (maps[0].x->in + maps[1].x->in) floats. */
    void (*seg_map_row)(const LiftMap maps[2], size_t y, size_t channels, const float *shift, const float *out,
                        float *scratch, float *m);
    /* m[x] += sum over the block of out * leaky_relu(scale * v + shift). */
    void (*seg_dot)(const float *row, size_t w, const SegBlock *b, float *m);
    /* Over n rows of `channels` (a multiple of 16): sum += v - center, square += (v - center)^2. */
    void (*column_stats)(const float *rows, size_t n, size_t channels, const float *center, float *sum, float *square);
    /* With dy = dm[x] * out * leaky'(y): sums[0] += dy, sums[1] += dy * x_hat, sums[2] += dm[x] * leaky(y);
     * sums is (3, LIFT_BLOCK). */
    void (*seg_grad_sums)(const float *row, size_t w, const SegBlock *b, const float *dm, float *sums);
    /* row <- scale * (dy - mean_dy - x_hat * mean_dy_xhat): the gradient of the pre-activations. */
    void (*seg_grad_row)(float *row, size_t w, const SegBlock *b, const float *dm, const float *mean_dy,
                         const float *mean_dy_xhat);
    /* z: the mixes of one low-resolution row for a row of the 5x5 taps, (x->in, 5, 128), `pixel` floats from one pixel
     * to the next; t (w, 128)[x] = sum_v sum_j X[x + v - 2][j] z[j][v]. */
    void (*cls_lift_x)(const float *z, size_t pixel, const Band *x, float *t);
    /* d (rows, w, 128), 1 to CLS_ROWS rows from output row y on, = base, of the same shape and NULL for 0, + sum over
     * maps of sum_u sum_i Y[y + u - 2][i] t[i][u]. */
    void (*cls_lift_y)(const ClsMap maps[2], size_t y, size_t rows, size_t w, const float *base, float *d);
    /* Transposes: t (5, w, 128) of low row i from d (h, w, 128); z (x->in, 25, 128) from t. Both overwrite. */
    void (*cls_project_y)(const float *d, const Band *yb, size_t i, size_t w, float *t);
    void (*cls_project_x)(const float *t, const Band *x, float *z);
    /* d (w, 128) of row y += 5x5 convolution of the map m (h, w) with weight (25, 128), zero padding. */
    void (*cls_map_row)(const float *m, size_t h, size_t w, size_t y, const float *weight, float *d);
    /* d (h, w, 128) += what input pixel (y, x), mixed to (25, 128), adds through the 5x5 convolution; only channels
     * c0 .. c0 + count - 1 (multiples of 16), so that threads can share one d. cls_gather is the transpose,
     * of channels of `size` bytes. */
    void (*cls_scatter)(const float *mix, size_t h, size_t w, size_t y, size_t x, size_t c0, size_t count, float *d);
    void (*cls_gather)(const void *d, size_t size, size_t h, size_t w, size_t y, size_t x, void *mix);
    /* With y = relu(scale * v + shift) over n pixels: running max and how many pixels have it, sum += y. */
    void (*cls_pool)(const float *rows, size_t n, const float *scale, const float *shift, float *max, float *sum,
                     float *ties);
    /* With dy the gradient of y before the ReLU: sums[0] += dy, sums[1] += dy * x_hat; sums is (2, 128). */
    void (*cls_grad_sums)(const float *rows, size_t n, const ClsBlock *b, float *sums);
    /* rows <- scale * (dy - mean_dy - x_hat * mean_dy_xhat). */
    void (*cls_grad_rows)(float *rows, size_t n, const ClsBlock *b, const float *mean_dy, const float *mean_dy_xhat);
    /* Backward of cls_map_row from d (w, 128), row y: dweight (25, 128) += ..., dm (h, w) += ... */
    void (*cls_map_grad_weight)(const float *m, size_t h, size_t w, size_t y, const float *d, float *dweight);
    void (*cls_map_grad_map)(const float *d, size_t h, size_t w, size_t y, const float *weight, float *dm);
    /* Winograd's algorithm (winograd.c) for tiles of 2x2 and 4x4 outputs. One tile's input at its 4x4 or 6x6 points:
     * pixels says where the tile's 4x4 or 6x6 pixels are; channels c .. c + 15 (channels is a multiple of 16) of point
     * p go to v + p * stride + c * WINOGRAD_ROWS. */
    void (*winograd_input_2)(const float *const *pixels, size_t channels, float *v, size_t stride);
    void (*winograd_input_4)(const float *const *pixels, size_t channels, float *v, size_t stride);
    /* One point: m (rows, PANEL) = v (rows, channels) w (channels, PANEL). v is stored as (rows / ROWS, channels / 16,
     * ROWS, 16), w as (PANEL / STRIP, channels, STRIP). */
    void (*winograd_product)(const float *v, const float *w, size_t channels, size_t rows, float *m);
    /* One tile's PANEL output channels; m + p * stride holds those of point p. */
    void (*winograd_output_2)(const float *m, size_t stride, const WinogradOutput *o, float *dst);
    void (*winograd_output_4)(const float *m, size_t stride, const WinogradOutput *o, float *dst);
    /* Standard normal numbers times std: element i depends on (key, stream, first + i) alone. first and n are
     * multiples of 4. */
    void (*gauss)(uint64_t key, uint64_t stream, uint64_t first, size_t n, float std, float *out);
    /* AdamW (Loshchilov and Hutter 2019; PyTorch's order of operations): p -= lr*decay*p, then the Adam step with
     * moments m, v and bias corrections c1 = 1 - beta1^t, c2 = 1 - beta2^t; the gradient is g * gscale. */
    void (*adamw)(size_t n, float *p, const float *g, float *m, float *v, float gscale, float lr, float decay, float c1,
                  float c2);
    /* Rounds to the nearest bfloat16 (ties to even; NaN stays NaN), and back. Any n. */
    void (*to_bf16)(const float *in, size_t n, uint16_t *out);
    void (*from_bf16)(const uint16_t *in, size_t n, float *out);
    /* in * scale[colour] + shift[colour], rounded to the nearest within 0 and 255, of pixels of three colours. NaN is
     * 0. */
    void (*to_pixels)(const float *in, size_t pixels, const float *scale, const float *shift, uint8_t *out);
} Kernels;

/* The fastest set this processor runs. */
const Kernels *kernels(void);
/* Every set this build holds that this processor runs, for tests: index 0 is the portable one; NULL past the end. */
const Kernels *kernels_at(size_t index);

#endif
