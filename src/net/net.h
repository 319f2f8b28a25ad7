/* net: the backbone, the lift and the two heads. Shapes: H x W input pixels; layer2 is (h2, w2, c2) = H/8 x W/8,
 * layer3 (h3, w3, c3) = H/16 x W/16; the feature resolution is h x w = 2 h2 x 2 w2 (h2 x w2 without upscaling);
 * c = c2 + c3. All maps NHWC. */
#ifndef BLEMISH_NET_H
#define BLEMISH_NET_H

#include "base/base.h"
#include "engine/engine.h"
#include "engine/kernels.h"
#include "store/store.h"

#define BN_EPSILON 1e-5 /* PyTorch's, in every BatchNorm */

/* ---- fill.c --------------------------------------------------------------------------------------------- */
/* The test value of a parameter: a function of its name and shape alone (the reference's `fill`), so that two
 * programs can make the same network without a file. */
void fill_tensor(const char *name, size_t rank, const size_t *shape, float *out);

/* ---- band.c --------------------------------------------------------------------------------------------- */
/* The lift of one axis: bilinear upsampling in -> out, then the 3-tap average with zero padding counted in the
 * divisor. */
BlemishStatus band_lift(Band *band, size_t in, size_t out, bool align_corners, Error *e);
void band_close(Band *band);

/* ---- trunk.c: backbone weights --------------------------------------------------------------------------- */
typedef struct TrunkConv {
    char name[48]; /* "layer1.0.conv1" */
    size_t in, out, kernel, stride, padding;
    float *weight; /* (out, in, kernel, kernel), BatchNorm folded in; NULL: still in the trunk's file */
    float *bias;   /* (out) */
    float step;    /* quantised: what a unit of its output is worth */
} TrunkConv;
#define TRUNK_CONVS_MAX 64
typedef struct Trunk {
    char backbone[32];
    size_t count, c2, c3;
    TrunkConv convs[TRUNK_CONVS_MAX]; /* in torchvision's order: conv1, then each block's */
    const TensorFile *file;           /* the model's that still holds the weights, or NULL */
} Trunk;
/* From a torchvision-style file, or from fill_tensor where file is NULL. BatchNorm (eps 1e-5) is folded in double. */
BlemishStatus trunk_load(Trunk *trunk, const char *backbone, const TensorFile *file, Error *e);
/* From a model file's folded "backbone.<conv>.weight" and ".bias". The weights are checked and stay in the file, which
 * must outlive the trunk: next to the packed copies that backbones make of them they would only fill memory. */
BlemishStatus trunk_load_folded(Trunk *trunk, const char *backbone, const TensorFile *file, Error *e);
/* The same of a quantised model's file. */
BlemishStatus trunk_load_quantised(Trunk *trunk, const char *backbone, const TensorFile *file, Error *e);
/* The convolution's weights as floats: the trunk's own, then *owned is NULL, or read from its file into *owned, which
 * the caller frees with array_free. NULL on failure. */
const float *trunk_weight(const Trunk *trunk, const TrunkConv *conv, float **owned, Error *e);
/* Reads into memory what is still in the file: weights that are to be changed. */
BlemishStatus trunk_fetch(Trunk *trunk, Error *e);
void trunk_close(Trunk *trunk);

/* ---- stem.c: the first convolution of a quantised trunk ---------------------------------------------------- */
/* Rounds its weights for inputs of these second moments (moments_add). */
BlemishStatus stem_quantise(const TrunkConv *conv, const float *moments, Error *e);
/* shape as of floats; the convolution reads what stem_input makes and writes bytes worth conv->step. */
BlemishStatus stem_open(Conv **out, Engine *engine, const TrunkConv *conv, const float *weight, const ConvShape *shape,
                        Error *e);
size_t stem_input_bytes(size_t batch, size_t height, size_t width);
/* in (batch, height, width, 3), normalised. Inside engine_enter. */
void stem_input(const float *in, size_t batch, size_t height, size_t width, uint8_t *out);

/* ---- backbone.c ----------------------------------------------------------------------------------------- */
typedef struct Backbone Backbone;
/* Input sizes from 32; type is what it computes in and its maps are of: ELEMENT_F32, ELEMENT_BF16 where
 * engine_has_bf16, or ELEMENT_U8 of a quantised trunk. The trunk must outlive nothing: its weights are packed here. */
BlemishStatus backbone_open(Backbone **out, Engine *engine, const Trunk *trunk, Element type, size_t batch,
                            size_t height, size_t width, Error *e);
/* Where the caller writes its input: (batch, H, W, 3), normalised. */
float *backbone_input(Backbone *backbone);
/* *f2 (batch, h2, w2, c2) and *f3 (batch, h3, w3, c3) belong to the backbone, until its next run. */
BlemishStatus backbone_run(Backbone *backbone, const void **f2, const void **f3, Error *e);
/* Of an fp32 backbone of one image: hands each convolution's input (height, width, in) and the `count` values of its
 * result to `each` from the next run on, which ends where it fails; `conv` is its place in the trunk. */
typedef BlemishStatus (*BackboneFn)(void *user, size_t conv, const float *input, size_t height, size_t width,
                                    const float *result, size_t count, Error *e);
void backbone_observe(Backbone *backbone, BackboneFn each, void *user);
double backbone_gmac(const Backbone *backbone); /* per image */
void backbone_close(Backbone *backbone);

/* ---- geometry ------------------------------------------------------------------------------------------- */
typedef struct Geometry {
    size_t height, width;        /* input */
    size_t h2, w2, h3, w3, h, w; /* layer2, layer3, feature resolution */
    size_t c2, c3, c;
} Geometry;
/* Refuses inputs smaller than 32 x 32 and larger than 16384 a side. */
BlemishStatus geometry_make(Geometry *g, size_t height, size_t width, size_t c2, size_t c3, Error *e);
/* Without upscaling (an ablation): the feature resolution becomes layer2's. */
void geometry_at_layer2(Geometry *g);

/* ---- heads.c: parameters -------------------------------------------------------------------------------- */
enum { CLS_FEATURES = 2 * CLS_CHANNELS + 2 };

/* Learned numbers of both heads, one allocation, so that gradients and moments are the same struct. */
typedef struct HeadParams {
    size_t c, hidden;
    size_t total; /* floats in `all` */
    float *all;
    float *adaptor_weight; /* (c, c) */
    float *adaptor_bias;   /* (c) */
    size_t adaptor_count;  /* the floats up to here are the adaptor's: its learning rate and decay differ */
    float *seg_weight;     /* (hidden, c) */
    float *seg_bias, *seg_gamma, *seg_beta; /* (hidden) */
    float *seg_out;                         /* (hidden) */
    float *cls_weight;                      /* (25, 128, c): tap u * 5 + v, output, input channel */
    float *cls_map;                         /* (25, 128): the taps of the map channel */
    float *cls_bias, *cls_gamma, *cls_beta; /* (128) */
    float *fc_weight;                       /* (258): max, mean of the 128; max, mean of the map */
    float *fc_bias;                         /* (1) */
} HeadParams;
BlemishStatus head_params_open(HeadParams *p, size_t c, size_t hidden, Error *e);
void head_params_close(HeadParams *p);

/* BatchNorm's running statistics. */
typedef struct HeadStats {
    float *seg_mean, *seg_var; /* (hidden) */
    float *cls_mean, *cls_var; /* (128) */
} HeadStats;

typedef struct Heads {
    bool icpr;           /* classification head on A(F) instead of F */
    bool map_score;      /* no classification head: the score is the map's maximum */
    float feature_scale; /* features are divided by it (docs/recipes.md) */
    float step[2];       /* quantised: what a unit of f2 and of f3 is worth */
    HeadParams params;
    HeadStats stats;
} Heads;
/* hidden is a multiple of LIFT_BLOCK. */
BlemishStatus heads_open(Heads *heads, size_t c, size_t hidden, Error *e);
void heads_close(Heads *heads);
/* Xavier-normal weights, PyTorch's default biases, BatchNorm 1 and 0, from `seed`. */
BlemishStatus heads_initialise(Heads *heads, uint64_t seed, Error *e);
/* The reference's names and shapes: index 0 .. HEAD_TENSORS - 1. */
enum { HEAD_TENSORS = 17 };
void heads_tensor(const Heads *heads, size_t index, TrunkTensor *out);
/* Copies between `values`, in the reference's layout, and the heads. */
void heads_get(const Heads *heads, size_t index, float *values);
void heads_set(Heads *heads, size_t index, const float *values);
/* The parameter part of the same, for gradients: returns false for running statistics. */
bool head_params_get(const HeadParams *params, size_t index, float *values);
/* One row of a weight (c) times the adaptor's bias: what that bias adds behind a linear layer. */
double adaptor_bias_through(const HeadParams *p, const float *row);
/* The reference's test values (fill_tensor). */
BlemishStatus heads_fill(Heads *heads, Error *e);
/* From a model file's "heads.<name>" tensors; e->status must be BLEMISH_OK on entry. */
BlemishStatus heads_load(Heads *heads, const TensorFile *file, Error *e);
BlemishStatus heads_load_tensor(Heads *heads, size_t index, const TensorFile *file, Error *e);

/* ---- rounding.c ------------------------------------------------------------------------------------------ */
enum { INT8_MOST = 127 };
/* out (rows, per) = row / scale, to the nearest, of rows at `stride`; scale (rows) makes the largest INT8_MOST. */
void quantise_rows(const float *weight, size_t rows, size_t per, size_t stride, int8_t *out, float *scale);
/* Back: out, rows at `stride`, = rounded (rows, per) * scale (rows). FORMAT "PATH: NAME: ..." where it is not finite.
 */
BlemishStatus scale_rows(const float *rounded, const float *scale, size_t rows, size_t per, size_t stride, float *out,
                         const char *path, const char *name, Error *e);
/* quantise_rows of contiguous rows, with the least squared error of the outputs that single changes of an integer
 * reach, for inputs whose second moments, times any factor, are `moments` (per, per): never more than quantise_rows
 * leaves. */
BlemishStatus quantise_rows_for(const float *weight, size_t rows, size_t per, const float *moments, int8_t *out,
                                float *scale, Error *e);
/* Adds the second moments of what the convolution sees of one input (height, width, in), and of each pixel of a map of
 * c channels. Inside engine_enter. */
BlemishStatus moments_add(float *moments, Engine *engine, const TrunkConv *conv, const float *input, size_t height,
                          size_t width, Error *e);
BlemishStatus moments_add_map(float *moments, Engine *engine, const float *map, size_t pixels, size_t c, Error *e);

/* ---- range.c --------------------------------------------------------------------------------------------- */
enum { RANGE_BINS = 2048 };
/* How large values are: bins of `width` by magnitude, without the zeros. Zero-initialised before first use. */
typedef struct Range {
    float width;
    uint64_t bins[RANGE_BINS];
} Range;
void range_add(Range *range, const float *values, size_t count);
/* The largest step of `levels` whose squared error, of rounding and saturation together, is at most RANGE_SLACK times
 * the least: around the least it changes little with the step, and what saturates is what is unusual, the defects. */
#define RANGE_SLACK 1.3
float range_step(const Range *range, size_t levels);

/* ---- statistics.c: what rounding a network must know, from the calibration images ------------------------ */
/* Of a convolution that sees more numbers of its input than these, no second moments are taken: they cost their square,
 * and weights of the later layers of a network, rounded for them, change no metric (docs/architecture.md). */
enum { PATCH_MAX = 576 };
typedef struct Statistics {
    Range *ranges;                   /* of each convolution's result */
    float *patches[TRUNK_CONVS_MAX]; /* second moments of what each convolution sees (moments_add); NULL: not taken */
    float *features[2];              /* and of f2 and f3, (c2, c2) and (c3, c3) */
} Statistics;
BlemishStatus statistics_open(Statistics *statistics, const Trunk *trunk, Error *e);
/* Adds one image, which is the input of the trunk's fp32 backbone of batch 1. Inside engine_enter. */
BlemishStatus statistics_add(Statistics *statistics, Engine *engine, const Trunk *trunk, Backbone *backbone,
                             const Geometry *g, Error *e);
void statistics_close(Statistics *statistics);

/* ---- quantise.c ------------------------------------------------------------------------------------------ */
/* Rounds the weights in place and sets the steps. */
BlemishStatus trunk_quantise(Trunk *trunk, const Statistics *statistics, Error *e);
/* The same of JIMS heads; their adaptor is multiplied into the segmentation head before. */
BlemishStatus heads_quantise(Heads *heads, Engine *engine, const Trunk *trunk, const Statistics *statistics, Error *e);
void heads_adaptor_identity(Heads *heads);
/* The steps of the features from those of layer2's and layer3's last convolution. */
void heads_take_steps(Heads *heads, const Trunk *trunk);

/* ---- lift.c: bands of one geometry ----------------------------------------------------------------------- */
typedef struct Lift {
    Band y2, x2, y3, x3;
} Lift;
BlemishStatus lift_open(Lift *lift, const Geometry *g, bool align_corners, Error *e);
void lift_close(Lift *lift);
/* What one image's heads cost behind the mixes: multiply-adds of the lifts, the activations' dot product and the map's
 * 5x5 convolution, and the bytes of the mixes, which are read once. */
BlemishStage lift_work(const Lift *lift, size_t hidden, bool classification);

/* ---- head_fold.c, head_forward.c: inference ---------------------------------------------------------------- */
/* The heads with everything linear multiplied out, ready to run one image at a time. */
typedef struct HeadRunner HeadRunner;
BlemishStatus head_runner_open(HeadRunner **out, Engine *engine, const Heads *heads, const Geometry *g,
                               bool align_corners, Element type, Error *e);
/* f2, f3 of one image, of that type -> map logits (h, w) and the score logit, 0 where the model has no classification
 * head. Inside engine_enter: buffers are per thread. */
BlemishStatus head_runner_run(HeadRunner *runner, const void *f2, const void *f3, float *map, float *score, Error *e);
double head_runner_gmac(const HeadRunner *runner);
void head_runner_close(HeadRunner *runner);

#endif
