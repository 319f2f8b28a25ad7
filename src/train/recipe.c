/* The recipe's keys are one table: name, type, place, range and help; setting, listing and writing follow from it. */
#include "net/model.h"
#include "train/train.h"

#include <stdio.h>
#include <string.h>

typedef enum Kind { KIND_COUNT, KIND_SEED, KIND_REAL, KIND_SWITCH, KIND_CHOICE } Kind;

typedef struct Key {
    const char *name; /* SECTION.KEY; KEY alone is unique too */
    Kind kind;
    bool automatic; /* takes "auto", stored as a negative number */
    size_t offset;
    double low, high;
    const char *const *choices; /* KIND_CHOICE: the words, by enum value */
    const char *help;
} Key;

#define SEED_MAX 9007199254740991.0 /* 2^53 - 1: every JSON reader keeps it exactly */
#define AT(field) offsetof(Recipe, field)

static const char *const regimes[] = {"auto", "unsupervised", "supervised", NULL};
static const char *const variants[] = {"jims", "icpr", NULL};
static const char *const masks[] = {"perlin", "uniform", "none", NULL};

/* Sorted by section, which recipe_json relies on. */
static const Key keys[] = {
    {"train.regime", KIND_CHOICE, true, AT(regime), 0, 0, regimes,
     "auto, unsupervised or supervised; auto: supervised when a training image is labelled defective"},
    {"train.epochs", KIND_COUNT, false, AT(epochs), 1, 100000, NULL, "passes over the training images"},
    {"train.batch", KIND_COUNT, false, AT(batch), 1, 4096, NULL, "images of one step"},
    {"train.bf16", KIND_SWITCH, true, AT(bf16), 0, 1, NULL,
     "1: features and matrix products in bfloat16 (sums, weights and the rest in fp32); auto: where the processor has "
     "it"},
    {"train.seed", KIND_SEED, false, AT(seed), 0, SEED_MAX, NULL, "seed of every random draw"},
    {"train.adaptor_lr", KIND_REAL, false, AT(adaptor_lr), 0, 1, NULL, "learning rate of the adaptor"},
    {"train.adaptor_decay", KIND_REAL, false, AT(adaptor_decay), 0, 10, NULL, "weight decay of the adaptor"},
    {"train.head_lr", KIND_REAL, false, AT(head_lr), 0, 1, NULL, "learning rate of both heads"},
    {"train.head_decay", KIND_REAL, false, AT(head_decay), 0, 10, NULL, "weight decay of both heads"},
    {"train.lr_drop", KIND_REAL, false, AT(lr_drop), 0, 1, NULL,
     "factor on the learning rates at each of the two drops"},
    {"train.lr_drop_first", KIND_REAL, false, AT(lr_drop_first), 0, 1, NULL,
     "fraction of the epochs before the first drop"},
    {"train.lr_drop_second", KIND_REAL, false, AT(lr_drop_second), 0, 1, NULL,
     "fraction of the epochs before the second drop"},
    {"train.clip", KIND_REAL, true, AT(clip), 0, 1e6, NULL,
     "largest gradient norm, 0: off; auto: 1 when supervised, else 0"},
    {"train.stop_grad", KIND_SWITCH, true, AT(stop_grad), 0, 1, NULL,
     "1: the classification loss does not train the map; auto: 1 when unsupervised, else 0"},
    {"model.variant", KIND_CHOICE, false, AT(variant), 0, 0, variants,
     "jims or icpr: the classification head sees the features or the adapted features"},
    {"model.height", KIND_COUNT, false, AT(height), 32, 4096, NULL,
     "network input height, pixels (model.size=HxW sets both)"},
    {"model.width", KIND_COUNT, false, AT(width), 32, 4096, NULL,
     "network input width, pixels (model.size=N sets both)"},
    {"model.hidden", KIND_COUNT, false, AT(hidden), 64, 8192, NULL, "width of the segmentation head, a multiple of 64"},
    {"model.upscale", KIND_SWITCH, false, AT(upscale), 0, 1, NULL,
     "1: features at twice the resolution of layer2; 0: at that of layer2"},
    {"model.align_corners", KIND_SWITCH, false, AT(align_corners), 0, 1, NULL,
     "1: features are upsampled with aligned corners; 0 for models trained elsewhere"},
    {"model.classification", KIND_SWITCH, false, AT(classification), 0, 1, NULL,
     "1: the classification head gives the score; 0: there is none, the score is the map's maximum"},
    {"model.feature_scale", KIND_REAL, true, AT(feature_scale), 1e-6, 1e6, NULL,
     "features are divided by it; auto: 1 on torchvision's published files, measured on the training images on others"},
    {"anomaly.mask", KIND_CHOICE, false, AT(mask), 0, 0, masks,
     "where noise is added: perlin (under Perlin noise), uniform (everywhere, second showing only) or none"},
    {"anomaly.noise_std", KIND_REAL, true, AT(noise_std), 0, 100, NULL,
     "standard deviation of the synthetic anomalies on normalised features; auto: 0.015"},
    {"anomaly.perlin_threshold", KIND_REAL, true, AT(perlin_threshold), 0, 1, NULL,
     "noise value above which an anomaly is drawn; auto: 0.6 when supervised, else 0.2"},
    {"loss.segmentation", KIND_SWITCH, false, AT(segmentation), 0, 1, NULL,
     "1: the map has loss terms of its own; 0: the score's alone"},
    {"loss.distance_weights", KIND_SWITCH, false, AT(distance_weights), 0, 1, NULL,
     "1: the loss weighs a defect's centre more than its edge (supervised)"},
    {"data.flips", KIND_SWITCH, false, AT(flips), 0, 1, NULL,
     "1: defective images are shown in four flips (supervised)"},
    {"data.dilate", KIND_COUNT, false, AT(dilate), 1, 255, NULL,
     "side of the square masks grow by, odd, 1: off (supervised)"},
    {"data.rotate", KIND_SWITCH, false, AT(rotate), 0, 1, NULL,
     "1: images are shown turned by 0, 90, 180 or 270 degrees"},
    {"data.brightness", KIND_REAL, false, AT(brightness), 0, 0.9, NULL,
     "largest relative change of an image's brightness, 0: off"},
    {"data.contrast", KIND_REAL, false, AT(contrast), 0, 0.9, NULL,
     "largest relative change of an image's contrast, 0: off"},
    {"data.shift", KIND_REAL, false, AT(shift), 0, 0.25, NULL,
     "largest shift, as a fraction of the height and of the width, 0: off"},
    {"data.variants", KIND_COUNT, false, AT(variants), 0, 1000, NULL,
     "random variants of brightness, contrast and shift that are kept of an image, 0: drawn anew at every showing"},
    {"data.tiles", KIND_SWITCH, false, AT(tiles), 0, 1, NULL,
     "1: images are cut into overlapping tiles of the network's input size, at their own resolution"},
    {"data.tile_overlap", KIND_REAL, false, AT(tile_overlap), 0, TILE_OVERLAP_MAX, NULL,
     "least part of a tile's side that neighbours share"},
};
enum { KEYS = sizeof keys / sizeof keys[0] };

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
        .variants = 4,
        .tile_overlap = (double)TILE_OVERLAP,
        .distance_weights = 1,
        .align_corners = 1,
        .upscale = 1,
        .classification = 1,
        .mask = MASK_PERLIN,
        .segmentation = 1,
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

static const char *short_name(const char *name) {
    const char *dot = strchr(name, '.');
    return dot ? dot + 1 : name;
}

size_t recipe_find(const char *name) {
    const bool full = strchr(name, '.') != NULL;
    for (size_t i = 0; i < KEYS; i++)
        if (strcmp(name, full ? keys[i].name : short_name(keys[i].name)) == 0) return i;
    return SIZE_MAX;
}

static BlemishStatus unknown_key(const char *name, Error *e) {
    const size_t misplaced = recipe_find(short_name(name)); /* the right key in the wrong section */
    const bool full = strchr(name, '.') != NULL;
    size_t best = 0, best_distance = SIZE_MAX;
    for (size_t i = 0; i < KEYS && misplaced == SIZE_MAX; i++) {
        size_t distance = edit_distance(name, full ? keys[i].name : short_name(keys[i].name));
        if (distance < best_distance) best = i, best_distance = distance;
    }
    return error_set(e, BLEMISH_ERROR_ARGUMENT, "recipe: unknown key '%s'; the nearest is '%s'", name,
                     keys[misplaced == SIZE_MAX ? best : misplaced].name);
}

static BlemishStatus refuse(const Key *key, const char *value, const char *expected, Error *e) {
    return error_set(e, BLEMISH_ERROR_ARGUMENT, "recipe: %s: found '%s', expected %s%s", key->name, value, expected,
                     key->automatic && key->kind != KIND_CHOICE ? ", or auto" : "");
}

static BlemishStatus set_choice(const Key *key, char *field, const char *value, Error *e) {
    char expected[96] = "";
    for (int i = 0; key->choices[i]; i++) {
        if (strcmp(value, key->choices[i]) == 0) {
            *(int *)(void *)field = i;
            return BLEMISH_OK;
        }
        const size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "%s%s",
                 i == 0                ? ""
                 : key->choices[i + 1] ? ", "
                                       : " or ",
                 key->choices[i]);
    }
    return refuse(key, value, expected, e);
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
                         "recipe: model.size: found '%s', expected a number or HEIGHTxWIDTH, each from 32 to 4096",
                         value);
    *recipe = changed;
    return BLEMISH_OK;
}

BlemishStatus recipe_set(Recipe *recipe, const char *name, const char *value, Error *e) {
    if (strcmp(name, "size") == 0 || strcmp(name, "model.size") == 0) return set_size(recipe, value, e);
    const size_t at = recipe_find(name);
    if (at == SIZE_MAX) return unknown_key(name, e);
    const Key *key = &keys[at];
    char *field = (char *)recipe + key->offset;
    if (key->kind == KIND_CHOICE) return set_choice(key, field, value, e);
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
    case KIND_CHOICE:
        snprintf(value, 64, "%s", key->choices[*(const int *)(const void *)field]);
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
    const char *name, *help, *section = "";
    char value[64];
    for (size_t i = 0; recipe_key(recipe, i, &name, value, &help); i++) {
        const int length = (int)(short_name(name) - name - 1);
        const bool word = keys[i].kind == KIND_CHOICE || strcmp(value, "auto") == 0;
        if (strncmp(name, section, (size_t)length + 1) != 0)
            text_format(out, "%s\"%.*s\":{", i ? "}," : "{", length, name);
        else
            text_append(out, ",", 1);
        text_format(out, word ? "\"%s\":\"%s\"" : "\"%s\":%s", short_name(name), value);
        section = name;
    }
    text_append(out, "}}", 2);
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
