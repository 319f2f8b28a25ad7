/* The recipe's keys are one table: name, type, place, range and help; setting, listing and writing follow from it. */
#include "train/train.h"

#include <stdio.h>
#include <string.h>

typedef enum Kind { KIND_COUNT, KIND_SEED, KIND_REAL, KIND_SWITCH, KIND_REGIME, KIND_VARIANT } Kind;

typedef struct Key {
    const char *name;
    Kind kind;
    bool automatic; /* takes "auto", stored as a negative number */
    size_t offset;
    double low, high;
    const char *help;
} Key;

#define SEED_MAX 9007199254740991.0 /* 2^53 - 1: every JSON reader keeps it exactly */
#define AT(field) offsetof(Recipe, field)

static const Key keys[] = {
    {"regime", KIND_REGIME, true, AT(regime), 0, 0,
     "auto, unsupervised or supervised; auto: supervised when a training image is labelled defective"},
    {"variant", KIND_VARIANT, false, AT(variant), 0, 0,
     "jims or icpr: the classification head sees the features or the adapted features"},
    {"height", KIND_COUNT, false, AT(height), 32, 4096, "network input height, pixels (size=HxW sets both)"},
    {"width", KIND_COUNT, false, AT(width), 32, 4096, "network input width, pixels (size=N sets both)"},
    {"hidden", KIND_COUNT, false, AT(hidden), 64, 8192, "width of the segmentation head, a multiple of 64"},
    {"epochs", KIND_COUNT, false, AT(epochs), 1, 100000, "passes over the training images"},
    {"batch", KIND_COUNT, false, AT(batch), 1, 4096, "images of one step"},
    {"bf16", KIND_SWITCH, true, AT(bf16), 0, 1,
     "1: matrix products in bfloat16 (sums, weights and the rest in fp32); auto: where the processor has them"},
    {"seed", KIND_SEED, false, AT(seed), 0, SEED_MAX, "seed of every random draw"},
    {"adaptor_lr", KIND_REAL, false, AT(adaptor_lr), 0, 1, "learning rate of the adaptor"},
    {"adaptor_decay", KIND_REAL, false, AT(adaptor_decay), 0, 10, "weight decay of the adaptor"},
    {"head_lr", KIND_REAL, false, AT(head_lr), 0, 1, "learning rate of both heads"},
    {"head_decay", KIND_REAL, false, AT(head_decay), 0, 10, "weight decay of both heads"},
    {"lr_drop", KIND_REAL, false, AT(lr_drop), 0, 1, "factor on the learning rates at each of the two drops"},
    {"lr_drop_first", KIND_REAL, false, AT(lr_drop_first), 0, 1, "fraction of the epochs before the first drop"},
    {"lr_drop_second", KIND_REAL, false, AT(lr_drop_second), 0, 1, "fraction of the epochs before the second drop"},
    {"clip", KIND_REAL, true, AT(clip), 0, 1e6, "largest gradient norm, 0: off; auto: 1 when supervised, else 0"},
    {"stop_grad", KIND_SWITCH, true, AT(stop_grad), 0, 1,
     "1: the classification loss does not train the map; auto: 1 when unsupervised, else 0"},
    {"noise_std", KIND_REAL, true, AT(noise_std), 0, 100,
     "standard deviation of the synthetic anomalies on normalised features; auto: 0.015"},
    {"feature_scale", KIND_REAL, true, AT(feature_scale), 1e-6, 1e6,
     "features are divided by it; auto: measured on the training images"},
    {"perlin_threshold", KIND_REAL, true, AT(perlin_threshold), 0, 1,
     "noise value above which an anomaly is drawn; auto: 0.6 when supervised, else 0.2"},
    {"flips", KIND_SWITCH, false, AT(flips), 0, 1, "1: defective images are shown in four flips (supervised)"},
    {"dilate", KIND_COUNT, false, AT(dilate), 1, 255, "side of the square masks grow by, odd, 1: off (supervised)"},
    {"distance_weights", KIND_SWITCH, false, AT(distance_weights), 0, 1,
     "1: the loss weighs a defect's centre more than its edge (supervised)"},
    {"align_corners", KIND_SWITCH, false, AT(align_corners), 0, 1,
     "1: features are upsampled with aligned corners; 0 for models trained elsewhere"},
};
enum { KEYS = sizeof keys / sizeof keys[0] };

static const char *const regimes[] = {"auto", "unsupervised", "supervised", NULL};
static const char *const variants[] = {"jims", "icpr", NULL};

void recipe_defaults(Recipe *recipe) {
    *recipe = (Recipe){
        .regime = REGIME_AUTO,
        .variant = VARIANT_JIMS,
        .height = 256,
        .width = 256,
        .hidden = 1024,
        .epochs = 300,
        .batch = 32,
        .bf16 = -1,
        .adaptor_lr = 1e-4,
        .adaptor_decay = 1e-2,
        .head_lr = 2e-4,
        .head_decay = 1e-5,
        .lr_drop = 0.4,
        .lr_drop_first = 0.8,
        .lr_drop_second = 0.9,
        .clip = -1,
        .stop_grad = -1,
        .noise_std = 0.015,
        .feature_scale = -1,
        .perlin_threshold = -1,
        .flips = 1,
        .dilate = 7,
        .distance_weights = 1,
        .align_corners = 1,
    };
}

/* ---- setting --------------------------------------------------------------------------------------------- */

/* Levenshtein's distance; names are short. */
static size_t edit_distance(const char *a, const char *b) {
    enum { LONGEST = 64 };
    size_t row[LONGEST + 1], n = strlen(b);
    if (n > LONGEST || strlen(a) > LONGEST) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            if (row[j] + 1 < change) change = row[j] + 1;
            row[j + 1] = diagonal + 1 < change ? diagonal + 1 : change;
        }
    }
    return row[n];
}

static BlemishStatus unknown_key(const char *name, Error *e) {
    size_t best = 0, best_distance = SIZE_MAX;
    for (size_t i = 0; i < KEYS; i++) {
        size_t distance = edit_distance(name, keys[i].name);
        if (distance < best_distance) best = i, best_distance = distance;
    }
    return error_set(e, BLEMISH_ERROR_ARGUMENT, "recipe: unknown key '%s'; the nearest is '%s'", name, keys[best].name);
}

static BlemishStatus refuse(const Key *key, const char *value, const char *expected, Error *e) {
    return error_set(e, BLEMISH_ERROR_ARGUMENT, "recipe: %s: found '%s', expected %s%s", key->name, value, expected,
                     key->automatic && key->kind != KIND_REGIME ? ", or auto" : "");
}

/* Index of value among the names, -1 where it is none of them. */
static int choice(const char *const *names, const char *value) {
    for (int i = 0; names[i]; i++)
        if (strcmp(value, names[i]) == 0) return i;
    return -1;
}

static BlemishStatus set_number(const Key *key, char *field, const char *value, Error *e) {
    double number = 0;
    uint64_t count = 0;
    char expected[96];
    bool real = key->kind == KIND_REAL;
    bool whole = key->kind == KIND_COUNT || key->kind == KIND_SEED;
    if (key->kind == KIND_SWITCH)
        snprintf(expected, sizeof expected, "0 or 1");
    else
        snprintf(expected, sizeof expected, "a %snumber from %.16g to %.16g", whole ? "whole " : "", key->low,
                 key->high);
    if (real ? !number_parse(value, &number) : !count_parse(value, &count)) return refuse(key, value, expected, e);
    if (!real) number = (double)count;
    if (!(number >= key->low && number <= key->high)) return refuse(key, value, expected, e);
    if (key->offset == AT(hidden) && count % LIFT_BLOCK) return refuse(key, value, "a multiple of 64", e);
    if (key->offset == AT(dilate) && count % 2 == 0) return refuse(key, value, "an odd number", e);
    switch (key->kind) {
    case KIND_COUNT:
        *(size_t *)(void *)field = (size_t)count;
        break;
    case KIND_SEED:
        *(uint64_t *)(void *)field = count;
        break;
    case KIND_SWITCH:
        *(int *)(void *)field = (int)count;
        break;
    default:
        *(double *)(void *)field = number + 0.0; /* no negative zero: a sign means auto */
    }
    return BLEMISH_OK;
}

/* "256" or "640x232" (height x width). */
static BlemishStatus set_size(Recipe *recipe, const char *value, Error *e) {
    const char *cross = strchr(value, 'x');
    char height[16];
    snprintf(height, sizeof height, "%.*s", cross ? (int)(cross - value < 15 ? cross - value : 15) : 15, value);
    Recipe changed = *recipe;
    if (recipe_set(&changed, "height", height, e) || recipe_set(&changed, "width", cross ? cross + 1 : height, e))
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "recipe: size: found '%s', expected a number or HEIGHTxWIDTH, each from 32 to 4096", value);
    *recipe = changed;
    return BLEMISH_OK;
}

BlemishStatus recipe_set(Recipe *recipe, const char *name, const char *value, Error *e) {
    if (strcmp(name, "size") == 0) return set_size(recipe, value, e);
    const Key *key = NULL;
    for (size_t i = 0; i < KEYS && key == NULL; i++)
        if (strcmp(name, keys[i].name) == 0) key = &keys[i];
    if (key == NULL) return unknown_key(name, e);
    char *field = (char *)recipe + key->offset;
    if (key->kind == KIND_REGIME) {
        int at = choice(regimes, value);
        if (at < 0) return refuse(key, value, "auto, unsupervised or supervised", e);
        recipe->regime = (Regime)at;
        return BLEMISH_OK;
    }
    if (key->kind == KIND_VARIANT) {
        int at = choice(variants, value);
        if (at < 0) return refuse(key, value, "jims or icpr", e);
        recipe->variant = (Variant)at;
        return BLEMISH_OK;
    }
    if (key->automatic && strcmp(value, "auto") == 0) {
        if (key->kind == KIND_SWITCH)
            *(int *)(void *)field = -1;
        else
            *(double *)(void *)field = -1;
        return BLEMISH_OK;
    }
    return set_number(key, field, value, e);
}

/* ---- reading --------------------------------------------------------------------------------------------- */

static void real_text(double number, char value[64]) {
    Text t = {0};
    text_json_number(&t, number);
    snprintf(value, 64, "%s", t.data ? t.data : "");
    text_free(&t);
}

bool recipe_key(const Recipe *recipe, size_t index, const char **name, char value[64], const char **help) {
    if (index >= KEYS) return false;
    const Key *key = &keys[index];
    const char *field = (const char *)recipe + key->offset;
    *name = key->name;
    *help = key->help;
    switch (key->kind) {
    case KIND_REGIME:
        snprintf(value, 64, "%s", regimes[recipe->regime]);
        break;
    case KIND_VARIANT:
        snprintf(value, 64, "%s", variants[recipe->variant]);
        break;
    case KIND_COUNT:
        snprintf(value, 64, "%zu", *(const size_t *)(const void *)field);
        break;
    case KIND_SEED:
        snprintf(value, 64, "%llu", (unsigned long long)*(const uint64_t *)(const void *)field);
        break;
    case KIND_SWITCH: {
        int on = *(const int *)(const void *)field;
        snprintf(value, 64, "%s", on < 0 ? "auto" : on ? "1" : "0");
        break;
    }
    case KIND_REAL: {
        double number = *(const double *)(const void *)field;
        if (number < 0)
            snprintf(value, 64, "auto");
        else
            real_text(number, value);
    }
    }
    return true;
}

void recipe_json(const Recipe *recipe, Text *out) {
    const char *name, *help;
    char value[64];
    for (size_t i = 0; recipe_key(recipe, i, &name, value, &help); i++) {
        bool word = keys[i].kind == KIND_REGIME || keys[i].kind == KIND_VARIANT || strcmp(value, "auto") == 0;
        text_format(out, word ? "%s\"%s\":\"%s\"" : "%s\"%s\":%s", i ? "," : "{", name, value);
    }
    text_append(out, "}", 1);
}

void recipe_resolve(Recipe *recipe, bool defects) {
    if (recipe->bf16 < 0) recipe->bf16 = engine_has_bf16();
    if (recipe->regime == REGIME_AUTO) recipe->regime = defects ? REGIME_SUPERVISED : REGIME_UNSUPERVISED;
    bool supervised = recipe->regime == REGIME_SUPERVISED;
    if (recipe->clip < 0) recipe->clip = supervised ? 1 : 0;
    if (recipe->stop_grad < 0) recipe->stop_grad = !supervised;
    if (recipe->noise_std < 0) recipe->noise_std = 0.015;
    if (recipe->perlin_threshold < 0) recipe->perlin_threshold = supervised ? 0.6 : 0.2;
}
