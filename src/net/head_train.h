/* Forward and backward of both heads in training, on low-resolution features.
 *
 * A step shows 2B samples: sample s is image s % B with its own noise mask. Nothing is computed at full feature
 * resolution but what a non-linearity needs: docs/architecture.md derives the algebra, these files follow it.
 *
 * The biases in front of a BatchNorm (seg.conv.bias, cls.conv.bias and, in JIMS, adaptor.bias) shift a mean that the
 * BatchNorm takes away again: their gradient is 0 exactly, here and in exact arithmetic; PyTorch's is rounding noise.
 * They only enter the running means. */
#ifndef BLEMISH_HEAD_TRAIN_H
#define BLEMISH_HEAD_TRAIN_H

#include "net/net.h"

/* A matrix that products read: its values and, where the trainer computes in bfloat16, their rounded copy. */
typedef struct Operand {
    float *values;
    uint16_t *rounded;
} Operand;

typedef struct HeadBatch {
    size_t images;             /* B, at most the trainer's */
    const float *f2, *f3;      /* (B, h2, w2, c2) and (B, h3, w3, c3), divided by the feature scale */
    const uint8_t *noise_mask; /* (2B, h, w): 1 where noise is added */
    float noise_std;
    uint64_t noise_key; /* noise is a function of (key, sample, pixel, channel) */
    const float *noise; /* tests only: (2B, h, w, c), used instead of the generator; NULL otherwise */
} HeadBatch;

typedef struct HeadTrainer {
    Engine *engine;
    const Kernels *k;
    Heads *heads;
    Geometry g;
    Lift lift;
    size_t batch; /* largest B */
    bool stop_grad;
    bool bf16;    /* products in bfloat16, sums and everything else in fp32 */
    float *map;   /* (2B, h, w) map logits, after head_trainer_forward */
    float *score; /* (2B) score logits */

    /* The rest belongs to the files that implement the trainer. */
    size_t noisy, noisy_capacity; /* pixels that have noise, in sample and raster order */
    uint32_t *noisy_pixel;        /* (noisy): y * w + x */
    size_t *noisy_row;            /* (2B * h + 1): first entry of each row */
    float *noise_mix;             /* (noisy, hidden): W_seg n, then the gradient of the same */
    Operand noise, mixes;         /* one chunk: (NOISE_CHUNK, c) and (NOISE_CHUNK, CLS_MIXES) */
    Operand chunk;                /* one chunk of noise_mix */

    Operand params, f2, f3;                                /* of the heads, of the batch */
    Operand seg_folded, seg_dfolded;                       /* (hidden, c): W_seg W_adaptor and its gradient */
    float *seg2, *seg3;                                    /* (hidden / 64, B * h2 * w2, 64) */
    Operand seg_grad2, seg_grad3;                          /* one block of the same */
    float *seg_mean, *seg_inv_std, *seg_scale, *seg_shift; /* (hidden) */
    float *seg_partial;                                    /* (B, 3, 64) */
    float *rows;                                           /* per thread */
    size_t row_floats;

    Operand cls_folded, cls_dfolded;     /* ICPR: (25 * 128, c) W_cls W_adaptor and its gradient */
    float *cls_bias_taps, *cls_bias_map; /* ICPR: (25, 128) W_cls b_adaptor, and what it adds (h, w, 128) */
    Operand cls2, cls3;                  /* one image's mixes, (h2, w2, CLS_MIXES) */
    float *cls_t2, *cls_t3;              /* the same, lifted along x */
    float *cls_sum;                      /* (h, w, 128): an image's gradient, over both samples */
    Operand d;                           /* (2B, h, w, 128) pre-activations, then their gradients */
    float *cls_mean, *cls_inv_std, *cls_scale, *cls_shift; /* (128) */
    float *pooled;                                         /* (2B, 258): what the linear layer sees */
    float *ties, *map_ties;                                /* (2B, 128), (2B): how many pixels share the maximum */
    float *cls_partial;                                    /* (2B, CLS_MIXES): each sample's sums, two rows or all */
} HeadTrainer;

/* Chunks are NOISE_CHUNK pixels; the last is padded to a multiple of NOISE_STEP, so that products have few shapes. */
enum { NOISE_CHUNK = 2048, NOISE_STEP = 256, CLS_MIXES = CLS_TAPS * CLS_CHANNELS };

typedef struct HeadTrainerSettings {
    size_t batch; /* largest B */
    bool align_corners, stop_grad;
    bool bf16; /* needs engine_has_bf16 */
} HeadTrainerSettings;
BlemishStatus head_trainer_open(HeadTrainer **out, Engine *engine, Heads *heads, const Geometry *g,
                                const HeadTrainerSettings *settings, Error *e);
/* Fills map and score; BatchNorm in training mode, running statistics are updated. Inside engine_enter. */
BlemishStatus head_trainer_forward(HeadTrainer *t, const HeadBatch *batch, Error *e);
/* Gradients of every parameter, from those of map (2B, h, w) and score (2B), after forward on the same batch, which may
 * be taken back once only. dmap is changed: what the classification head sends back is added. grads are overwritten.
 * Inside engine_enter. */
BlemishStatus head_trainer_backward(HeadTrainer *t, const HeadBatch *batch, float *dmap, const float *dscore,
                                    HeadParams *grads, Error *e);
void head_trainer_close(HeadTrainer *t);

/* ---- operand.c: matrix products in the trainer's precision ------------------------------------------------- */
BlemishStatus operand_open(Operand *o, size_t count, bool bf16, Error *e);
void operand_close(Operand *o);
/* Rounds the first `count` values, where the operand has a rounded copy; before a product reads what was changed. */
void operand_round(const Operand *o, size_t count);
Operand operand_at(const Operand *o, size_t offset);
/* As gemm, in bfloat16 where both operands have a rounded copy. */
BlemishStatus product(const HeadTrainer *t, bool ta, bool tb, size_t m, size_t n, size_t k, Operand a, size_t lda,
                      Operand b, size_t ldb, bool add, float *c, size_t ldc, Error *e);
/* The operand of a parameter: params at `weight`, which lies in the heads' parameters. */
Operand operand_param(const HeadTrainer *t, const float *weight);

/* ---- parts, in the order they run -------------------------------------------------------------------------- */
/* cls_train.c: d = lifted clean mixes, for both samples of every image. */
BlemishStatus cls_forward_clean(HeadTrainer *t, const HeadBatch *batch, Error *e);
/* seg_train.c: map, from the features and noise_mix. */
BlemishStatus seg_forward(HeadTrainer *t, const HeadBatch *batch, Error *e);
/* cls_train.c: adds the map's channel to d, then BatchNorm, ReLU, pooling, linear. */
void cls_forward_finish(HeadTrainer *t, const HeadBatch *batch);
/* cls_train.c: d becomes its gradient; dmap += unless stop_grad; the clean features' share of cls_weight (ICPR: of
 * the folded product, which cls_unfold takes apart after seg_backward has set the adaptor's gradients). */
BlemishStatus cls_backward(HeadTrainer *t, const HeadBatch *batch, float *dmap, const float *dscore, HeadParams *grads,
                           Error *e);
BlemishStatus cls_unfold(HeadTrainer *t, const HeadBatch *batch, HeadParams *grads, Error *e);
/* seg_train.c: noise_mix becomes its gradient; everything of the head but the noise's share of seg_weight. */
BlemishStatus seg_backward(HeadTrainer *t, const HeadBatch *batch, const float *dmap, HeadParams *grads, Error *e);

/* Batch statistics to BatchNorm's numbers, and the running ones (momentum 0.1, unbiased variance; PyTorch). sum and
 * square are of v - center over n values; bias is what the running mean has on top. */
typedef struct BatchNorm {
    const float *gamma, *beta, *bias;
    float *mean, *inv_std, *scale, *shift, *running_mean, *running_var;
} BatchNorm;
void batch_norm_update(const BatchNorm *bn, size_t channel, double n, double center, double sum, double square);

#endif
