#include "train/checkpoint.h"

#include "store/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TENSORS = 11, NUMBERS = 3 };

/* Stored as three I64. */
typedef struct Numbers {
    int64_t epoch, step, optimiser_steps;
} Numbers;

/* The checkpoint's tensors over the state's own memory. */
static void list_tensors(const Heads *heads, const Optimiser *o, const Cursor *cursor, const Numbers *numbers,
                         Tensor out[TENSORS]) {
    const HeadStats *s = &heads->stats;
    const size_t hidden = heads->params.hidden, total = heads->params.total;
    const Tensor tensors[TENSORS] = {
        {.name = "params", .data = heads->params.all, .count = total},
        {.name = "moments.first", .data = o->first.all, .count = total},
        {.name = "moments.second", .data = o->second.all, .count = total},
        {.name = "seg.running_mean", .data = s->seg_mean, .count = hidden},
        {.name = "seg.running_var", .data = s->seg_var, .count = hidden},
        {.name = "cls.running_mean", .data = s->cls_mean, .count = CLS_CHANNELS},
        {.name = "cls.running_var", .data = s->cls_var, .count = CLS_CHANNELS},
        {.name = "feature_scale", .data = &heads->feature_scale, .count = 1},
        {.name = "shown", .type = TENSOR_I32, .data = cursor->shown, .count = cursor->normals},
        {.name = "sums", .type = TENSOR_F64, .data = cursor->sums, .count = sizeof cursor->sums / sizeof(double)},
        {.name = "numbers", .type = TENSOR_I64, .data = numbers, .count = NUMBERS},
    };
    memcpy(out, tensors, sizeof tensors);
    for (size_t i = 0; i < TENSORS; i++) {
        out[i].rank = 1;
        out[i].shape[0] = out[i].count;
    }
}

BlemishStatus checkpoint_write(const char *path, const RunIdentity *run, const Heads *heads, const Optimiser *optimiser,
                               const Cursor *cursor, Error *e) {
    const Numbers numbers = {(int64_t)cursor->epoch, (int64_t)cursor->step, (int64_t)optimiser->steps};
    const MetadataEntry metadata[] = {
        {"format", "blemish-checkpoint"}, {"recipe", run->recipe}, {"data", run->data}, {"backbone", run->backbone}};
    Tensor tensors[TENSORS];
    list_tensors(heads, optimiser, cursor, &numbers, tensors);
    return safetensors_write(path, tensors, TENSORS, metadata, 4, e);
}

static BlemishStatus check_field(const TensorFile *file, const char *field, const char *expected, Error *e) {
    char *found = tensor_file_metadata(file, field, e);
    if (e->status == BLEMISH_OK && (found == NULL || strcmp(found, expected) != 0))
        error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: %s: found %s, expected %s as in the run to continue", file->path,
                  field, found ? found : "nothing", expected);
    free(found);
    return e->status;
}

static BlemishStatus check_run(const TensorFile *file, const RunIdentity *run, Error *e) {
    if (check_field(file, "format", "blemish-checkpoint", e) || check_field(file, "data", run->data, e) ||
        check_field(file, "backbone", run->backbone, e))
        return e->status;
    return check_field(file, "recipe", run->recipe, e);
}

/* Means of squares, which no training makes negative. */
static bool is_square(const char *name) {
    return strcmp(name, "moments.second") == 0 || strstr(name, "running_var") != NULL;
}

static BlemishStatus copy_tensors(const TensorFile *file, const Tensor *wanted, Error *e) {
    for (size_t i = 0; i < TENSORS; i++) {
        const Tensor *found;
        if (tensor_file_get(file, wanted[i].name, 1, wanted[i].shape, &found, e)) return e->status;
        if (found->type != wanted[i].type)
            return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: found another number type than expected", file->path,
                             wanted[i].name);
        memcpy((void *)(uintptr_t)wanted[i].data, found->data, found->count * tensor_type_size(found->type));
        const float *values = wanted[i].data;
        for (size_t k = 0; k < wanted[i].count && wanted[i].type == TENSOR_F32; k++)
            if (!isfinite(values[k]) || (values[k] < 0 && is_square(wanted[i].name)))
                return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: found %g at %zu, expected finite values%s",
                                 file->path, wanted[i].name, (double)values[k], k,
                                 is_square(wanted[i].name) ? ", none negative" : "");
    }
    return BLEMISH_OK;
}

BlemishStatus checkpoint_read(const char *path, const RunIdentity *run, Heads *heads, Optimiser *optimiser,
                              Cursor *cursor, Error *e) {
    TensorFile file;
    Numbers numbers;
    Tensor wanted[TENSORS];
    e->status = BLEMISH_OK;
    if (tensor_file_open(&file, path, e)) return e->status;
    list_tensors(heads, optimiser, cursor, &numbers, wanted);
    if (check_run(&file, run, e) == BLEMISH_OK && copy_tensors(&file, wanted, e) == BLEMISH_OK) {
        cursor->epoch = (size_t)numbers.epoch;
        cursor->step = (size_t)numbers.step;
        optimiser->steps = (uint64_t)numbers.optimiser_steps;
        if (numbers.epoch < 0 || numbers.step < 0 || numbers.optimiser_steps < 0)
            error_set(e, BLEMISH_ERROR_FORMAT, "%s: numbers: found a negative one", path);
        else if (!(heads->feature_scale > 0))
            error_set(e, BLEMISH_ERROR_FORMAT, "%s: feature_scale: found %g, expected a positive number", path,
                      (double)heads->feature_scale);
    }
    tensor_file_close(&file);
    return e->status;
}
