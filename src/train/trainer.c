/* The training run: epochs of steps on the examples' features. All randomness is a function of (seed, step,
 * sample), so a run continues from a checkpoint to the same bits. */
#include "train/anomaly.h"
#include "train/checkpoint.h"
#include "train/examples.h"
#include "train/loss.h"
#include "train/pieces.h"
#include "train/train_log.h"

#include "net/head_train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One batch's inputs and targets, all 2B samples. */
typedef struct Batch {
    float *f2, *f3, *weight, *dmap, *dscore, *scratch;
    uint8_t *noise_mask, *mask, *label, *segmented;
} Batch;

typedef struct Trainer {
    const Trunk *trunk;
    const Recipe *recipe;
    const BlemishTrainSettings *settings;
    RunIdentity run;
    Geometry g;
    Engine *engine;
    Heads *heads;
    HeadTrainer *head_trainer;
    HeadParams grads;
    Optimiser optimiser;
    Pieces pieces;
    Examples examples;
    Sampler sampler;
    Draw *draws;
    size_t batch_size; /* the recipe's, or all of a smaller epoch: no memory for images that never come */
    Batch batch;
    Cursor cursor;
    TrainLog log;
    Profile profile;
    double loss;      /* of the last step */
    double run_start; /* seconds */
    size_t run_first_step;
} Trainer;

/* ---- opening --------------------------------------------------------------------------------------------- */

static size_t steps_of(const Trainer *t) {
    return (sampler_epoch_length(&t->sampler) + t->batch_size - 1) / t->batch_size;
}

static BlemishStatus open_batch(Trainer *t, Error *e) {
    const size_t B = t->batch_size, n = t->g.h * t->g.w;
    Batch *b = &t->batch;
    b->f2 = array_new(B * t->examples.features.size2, sizeof(float), e);
    b->f3 = array_new(B * t->examples.features.size3, sizeof(float), e);
    b->weight = array_new(2 * B * n, sizeof(float), e);
    b->dmap = array_new(2 * B * n, sizeof(float), e);
    b->dscore = array_new(2 * B, sizeof(float), e);
    b->scratch = array_new(anomaly_scratch(t->g.h, t->g.w), sizeof(float), e);
    b->noise_mask = array_new(2 * B * n, 1, e);
    b->mask = array_new(2 * B * n, 1, e);
    b->label = array_new(2 * B, 1, e);
    b->segmented = array_new(2 * B, 1, e);
    return e->status;
}

static BlemishStatus open_learning(Trainer *t, Error *e) {
    const Recipe *r = t->recipe;
    const HeadTrainerSettings settings = {.batch = t->batch_size,
                                          .align_corners = r->align_corners != 0,
                                          .stop_grad = r->stop_grad != 0,
                                          .bf16 = r->bf16 != 0};
    if (heads_initialise(t->heads, r->seed, e) || optimiser_open(&t->optimiser, &t->heads->params, e) ||
        head_params_open(&t->grads, t->g.c, r->hidden, e) ||
        head_trainer_open(&t->head_trainer, t->engine, t->heads, &t->g, &settings, e))
        return e->status;
    t->draws = array_new(sampler_epoch_length(&t->sampler), sizeof *t->draws, e);
    t->cursor.shown = array_new(t->pieces.normals, sizeof *t->cursor.shown, e);
    t->cursor.normals = t->pieces.normals;
    return e->status == BLEMISH_OK ? open_batch(t, e) : e->status;
}

/* Continues from the checkpoint where there is one and it was asked for. */
static BlemishStatus resume(Trainer *t, Error *e) {
    const char *path = t->settings->checkpoint;
    if (path == NULL || !t->settings->resume || access(path, F_OK) != 0) return BLEMISH_OK;
    if (checkpoint_read(path, &t->run, t->heads, &t->optimiser, &t->cursor, e)) return e->status;
    const size_t epoch = t->cursor.epoch, step = t->cursor.step, steps = steps_of(t);
    if (epoch + (step > 0) > t->recipe->epochs || step >= steps || t->optimiser.steps != epoch * steps + step)
        return error_set(e, BLEMISH_ERROR_FORMAT,
                         "%s: numbers: found epoch %zu, step %zu, total %" PRIu64
                         ", expected a place in %zu x %zu steps",
                         path, epoch, step, t->optimiser.steps, t->recipe->epochs, steps);
    memcpy(t->sampler.shown, t->cursor.shown, t->pieces.normals * sizeof *t->sampler.shown);
    return BLEMISH_OK;
}

static void trainer_close(Trainer *t) {
    Batch *b = &t->batch;
    void *buffers[] = {b->f2,         b->f3,   b->weight, b->dmap,      b->dscore, b->scratch,
                       b->noise_mask, b->mask, b->label,  b->segmented, t->draws,  t->cursor.shown};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) array_free(buffers[i]);
    head_trainer_close(t->head_trainer);
    head_params_close(&t->grads);
    optimiser_close(&t->optimiser);
    examples_close(&t->examples);
    sampler_close(&t->sampler);
    pieces_close(&t->pieces);
    engine_close(t->engine);
}

/* ---- a step ---------------------------------------------------------------------------------------------- */

static uint64_t global_step(const Trainer *t) {
    return t->optimiser.steps;
}

/* Where sample s, which is the second showing of its image or the first, gets noise: never on its mask. */
static void fill_noise(Trainer *t, size_t s, bool second, const uint8_t *mask, uint8_t *noise) {
    const Recipe *r = t->recipe;
    const size_t n = t->g.h * t->g.w;
    Random random = random_new(r->seed, mix64(fnv1a64("anomaly", 7, FNV1A64_BASIS) ^ mix64(global_step(t))) + s);
    if (r->mask == MASK_PERLIN)
        anomaly_mask(&random, t->g.h, t->g.w, r->perlin_threshold, mask, t->batch.scratch, noise);
    else if (r->mask == MASK_UNIFORM && second)
        anomaly_everywhere(n, mask, noise);
    else
        memset(noise, 0, n);
}

/* Targets and noise of sample s, which shows the batch's image `place`. */
static void fill_sample(Trainer *t, size_t s, bool second, size_t place, bool anomalous) {
    const size_t n = t->g.h * t->g.w;
    Batch *b = &t->batch;
    uint8_t *mask = b->mask + s * n, *noise = b->noise_mask + s * n;
    float *weight = b->weight + s * n;
    const Targets *targets = &t->examples.targets;
    const size_t target = anomalous ? examples_target(&t->examples, place) : 0;
    const float *given = anomalous ? targets_weights(targets, target) : NULL;
    if (anomalous)
        memcpy(mask, targets_mask(targets, target), n);
    else
        memset(mask, 0, n);
    for (size_t i = 0; i < n; i++) weight[i] = given ? given[i] : 1.0f;
    b->segmented[s] = t->recipe->segmentation && (!anomalous || targets->segmented[target]);
    b->label[s] = anomalous;
    fill_noise(t, s, second, mask, noise);
    for (size_t i = 0; i < n; i++) {
        mask[i] |= noise[i];
        b->label[s] |= noise[i];
    }
}

static void fill_batch(Trainer *t, const Draw *draws, size_t images) {
    const float scale = 1.0f / t->heads->feature_scale;
    const Features *f = &t->examples.features;
    Batch *b = &t->batch;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < images; i++)
        examples_features(&t->examples, i, scale, b->f2 + i * f->size2, b->f3 + i * f->size3);
    for (size_t s = 0; s < 2 * images; s++)
        fill_sample(t, s, s >= images, s % images, draws[s % images].sample >= t->pieces.normals);
}

static BlemishStatus diverged(const Trainer *t, const char *what, double found, Error *e) {
    return error_set(e, BLEMISH_ERROR_ARGUMENT,
                     "training: the %s became %g at step %" PRIu64 "; try lower learning rates", what, found,
                     global_step(t) + 1);
}

static BlemishStatus run_step(Trainer *t, const Draw *draws, size_t images, Error *e) {
    const double start = now_seconds();
    const Recipe *r = t->recipe;
    Batch *b = &t->batch;
    LossTerms terms;
    profile_start(engine_profile(t->engine));
    if (examples_show(&t->examples, draws, images, global_step(t), e)) return e->status;
    fill_batch(t, draws, images);
    engine_lap(t->engine, "batch");
    const HeadBatch batch = {.images = images,
                             .f2 = b->f2,
                             .f3 = b->f3,
                             .noise_mask = b->noise_mask,
                             .noise_std = (float)r->noise_std,
                             .noise_key = mix64(r->seed ^ mix64(global_step(t) + 1))};
    if (head_trainer_forward(t->head_trainer, &batch, e)) return e->status;
    const LossInput in = {.samples = 2 * images,
                          .pixels = t->g.h * t->g.w,
                          .map = t->head_trainer->map,
                          .score = t->head_trainer->score,
                          .mask = b->mask,
                          .label = b->label,
                          .segmented = b->segmented,
                          .weight = t->examples.targets.weights ? b->weight : NULL,
                          .unscored = !r->classification};
    loss_terms(&in, &terms, b->dmap, b->dscore);
    engine_lap(t->engine, "loss");
    if (!isfinite(terms.total)) return diverged(t, "loss", terms.total, e);
    if (head_trainer_backward(t->head_trainer, &batch, b->dmap, b->dscore, &t->grads, e)) return e->status;
    const double norm = gradient_norm(&t->grads);
    if (!isfinite(norm)) return diverged(t, "gradient", norm, e);
    optimiser_step(&t->optimiser, &t->heads->params, &t->grads, r, r->clip, learning_rate_factor(r, t->cursor.epoch));
    engine_lap(t->engine, "optimiser");
    t->loss = terms.total;
    const double figures[8] = {terms.total,       terms.l1_good, terms.l1_bad,   terms.focal_map,
                               terms.focal_score, norm,          (double)images, now_seconds() - start};
    for (size_t i = 0; i < 8; i++) t->cursor.sums[i] += figures[i];
    return BLEMISH_OK;
}

/* ---- epochs ---------------------------------------------------------------------------------------------- */

static BlemishStatus save(const Trainer *t, Error *e) {
    const char *path = t->settings->checkpoint;
    return path ? checkpoint_write(path, &t->run, t->heads, &t->optimiser, &t->cursor, e) : BLEMISH_OK;
}

/* Reports; when asked to stop, writes a checkpoint first. */
static BlemishStatus report(const Trainer *t, Error *e) {
    const size_t steps = steps_of(t);
    const BlemishTrainSettings *s = t->settings;
    if (s->progress == NULL) return BLEMISH_OK;
    const size_t done = t->cursor.epoch * steps + t->cursor.step, total = t->recipe->epochs * steps;
    const double seconds = now_seconds() - t->run_start;
    const double rate = (double)(done - t->run_first_step) / fmax(seconds, 1e-9);
    const double images = (double)sampler_epoch_length(&t->sampler) / (double)steps;
    const BlemishProgress p = {.stage = "train",
                               .done = done,
                               .total = total,
                               .epoch = t->cursor.epoch + (done < total),
                               .epochs = t->recipe->epochs,
                               .loss = t->loss,
                               .items_per_second = rate * images,
                               .seconds_left = rate > 0 ? (double)(total - done) / rate : -1};
    if (s->progress(s->progress_user, &p) == 0) return BLEMISH_OK;
    if (save(t, e)) return e->status;
    return error_set(e, BLEMISH_ERROR_INTERRUPTED, "stopped in epoch %zu of %zu%s%s", p.epoch, p.epochs,
                     s->checkpoint ? "; to continue: " : "", s->checkpoint ? s->checkpoint : "");
}

static BlemishStatus end_epoch(Trainer *t, Error *e) {
    double *sums = t->cursor.sums;
    const double n = (double)steps_of(t), seconds = sums[7];
    const EpochFigures figures = {.epoch = t->cursor.epoch,
                                  .loss = sums[0] / n,
                                  .l1_good = sums[1] / n,
                                  .l1_bad = sums[2] / n,
                                  .focal_map = sums[3] / n,
                                  .focal_score = sums[4] / n,
                                  .gradient_norm = sums[5] / n,
                                  .lr_factor = learning_rate_factor(t->recipe, t->cursor.epoch),
                                  .images_per_second = sums[6] / fmax(seconds, 1e-9),
                                  .seconds = seconds};
    memset(sums, 0, sizeof t->cursor.sums);
    memcpy(t->cursor.shown, t->sampler.shown, t->pieces.normals * sizeof *t->cursor.shown);
    t->cursor.step = 0;
    t->cursor.epoch++;
    if (train_log_row(&t->log, &figures, e)) {
        Error ignored = {0}; /* the epoch is kept all the same: the checkpoint may be on another disk */
        save(t, &ignored);
        return e->status;
    }
    const size_t every = t->settings->checkpoint_every;
    if (t->cursor.epoch == t->recipe->epochs || (every && t->cursor.epoch % every == 0)) return save(t, e);
    return BLEMISH_OK;
}

static BlemishStatus run_epoch(Trainer *t, Error *e) {
    const size_t length = sampler_epoch_length(&t->sampler), batch = t->batch_size, steps = steps_of(t);
    if (sampler_epoch(&t->sampler, t->cursor.epoch, t->draws, e)) return e->status;
    while (t->cursor.step < steps) {
        if (report(t, e)) return e->status;
        const size_t first = t->cursor.step * batch, images = length - first < batch ? length - first : batch;
        if (run_step(t, t->draws + first, images, e)) return e->status;
        t->cursor.step++;
    }
    return end_epoch(t, e);
}

static BlemishStatus run_epochs(Trainer *t, Error *e) {
    t->loss = NAN;
    t->run_start = now_seconds();
    t->run_first_step = t->cursor.epoch * steps_of(t) + t->cursor.step;
    if (train_log_open(&t->log, t->settings->log_csv, t->cursor.epoch, e) == BLEMISH_OK) {
        while (t->cursor.epoch < t->recipe->epochs && run_epoch(t, e) == BLEMISH_OK) {
        }
        if (e->status == BLEMISH_OK) report(t, e);
    }
    const BlemishStatus status = e->status;
    Error close_error = {0};
    if (train_log_close(&t->log, &close_error) && status == BLEMISH_OK) *e = close_error;
    return e->status;
}

/* ---- the run --------------------------------------------------------------------------------------------- */

/* "resnet18 0123456789abcdef": the backbone and a hash of its folded weights. */
static BlemishStatus name_backbone(const Trunk *trunk, char out[64], Error *e) {
    uint64_t hash = FNV1A64_BASIS;
    for (size_t i = 0; i < trunk->count; i++) {
        const TrunkConv *c = &trunk->convs[i];
        const size_t count = c->out * c->in * c->kernel * c->kernel;
        float *owned;
        const float *weight = trunk_weight(trunk, c, &owned, e);
        if (weight == NULL) return e->status;
        for (size_t k = 0; k < count; k++) {
            uint32_t bits;
            memcpy(&bits, &weight[k], sizeof bits);
            hash = (hash ^ bits) * 0x100000001b3ull;
        }
        array_free(owned);
        hash = fnv1a64(c->bias, c->out * sizeof *c->bias, hash);
    }
    snprintf(out, 64, "%s %016" PRIx64, trunk->backbone, hash);
    return BLEMISH_OK;
}

/* A path that cannot be written is an error before the work, not after it. */
static BlemishStatus check_writable(const char *path, Error *e) {
    AtomicFile file;
    if (path == NULL) return BLEMISH_OK;
    if (atomic_open(&file, path, e)) return e->status;
    atomic_abandon(&file);
    return BLEMISH_OK;
}

static BlemishStatus train_all(Trainer *t, const Manifest *manifest, Error *e) {
    const Recipe *r = t->recipe;
    const bool supervised = r->regime == REGIME_SUPERVISED;
    if (r->bf16 && !engine_has_bf16())
        return error_set(e, BLEMISH_ERROR_UNSUPPORTED, "recipe: bf16: this processor has no bfloat16 products");
    if (check_writable(t->settings->checkpoint, e) || check_writable(t->settings->log_csv, e) ||
        geometry_make(&t->g, r->height, r->width, t->trunk->c2, t->trunk->c3, e))
        return e->status;
    if (!r->upscale) geometry_at_layer2(&t->g);
    if (heads_open(t->heads, t->g.c, r->hidden, e) || pieces_open(&t->pieces, manifest, &t->g, r, e) ||
        sampler_open(&t->sampler, t->pieces.normals, t->pieces.anomalies, supervised, r->flips != 0, r->seed, e) ||
        engine_open(&t->engine, t->settings->threads, e))
        return e->status;
    const size_t length = sampler_epoch_length(&t->sampler);
    t->batch_size = r->batch < length ? r->batch : length;
    t->heads->icpr = r->variant == VARIANT_ICPR;
    t->heads->map_score = !r->classification;
    const int before = engine_enter(t->engine);
    if (t->settings->profile) engine_set_profile(t->engine, &t->profile);
    profile_start(engine_profile(t->engine));
    if (examples_open(&t->examples, t->pieces.samples, t->pieces.normals, t->pieces.anomalies, t->engine, t->trunk,
                      &t->g, r, t->batch_size, t->settings, &t->heads->feature_scale, e) == BLEMISH_OK &&
        open_learning(t, e) == BLEMISH_OK && resume(t, e) == BLEMISH_OK)
        run_epochs(t, e);
    engine_leave(before);
    return e->status;
}

BlemishStatus train_run(Heads *heads, const Trunk *trunk, const Manifest *manifest, const char *fingerprint,
                        Recipe *recipe, const BlemishTrainSettings *settings, Error *e) {
    char backbone[64];
    Text json = {0};
    e->status = BLEMISH_OK;
    *heads = (Heads){0};
    if (name_backbone(trunk, backbone, e)) return e->status;
    recipe_json(recipe, &json);
    if (json.failed) {
        text_free(&json);
        return error_set(e, BLEMISH_ERROR_MEMORY, "out of memory");
    }
    Trainer t = {.trunk = trunk,
                 .recipe = recipe,
                 .settings = settings,
                 .heads = heads,
                 .run = {json.data, fingerprint, backbone}};
    train_all(&t, manifest, e);
    if (settings->profile) settings->profile(settings->profile_user, t.profile.stages, t.profile.count);
    trainer_close(&t);
    text_free(&json);
    if (e->status != BLEMISH_OK)
        heads_close(heads);
    else if (!(recipe->feature_scale > 0))
        recipe->feature_scale = (double)heads->feature_scale;
    return e->status;
}
