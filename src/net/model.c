#include "net/model_file.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The pixels are those of the largest recipe: 4096 x 4096. */
enum { SIDE_MIN = 32, SIDE_MAX = 16384, PIXELS_MAX = 1 << 24, HIDDEN_MAX = 8192 };

void model_start(Model *model) {
    *model = (Model){.threshold = 0.5f, .pixel_threshold = 0.5f, .align_corners = true};
    snprintf(model->regime, sizeof model->regime, "none");
    snprintf(model->program_version, sizeof model->program_version, "%s", BLEMISH_VERSION);
}

void model_close(Model *model) {
    trunk_close(&model->trunk);
    tensor_file_close(&model->file);
    heads_close(&model->heads);
    calibration_close(&model->calibration);
    array_free(model->roi);
    free(model->recipe_json);
    free(model->metrics_json);
    free(model->header_json);
    *model = (Model){0};
}

/* ---- the header ------------------------------------------------------------------------------------------ */

/* One short metadata field. */
typedef struct Field {
    const char *key;
    char value[72];
    bool word; /* a JSON string in the header, else a JSON number or boolean as it stands */
} Field;
enum { FIELDS = 23 };

/* The shortest decimal that reads back to the same float. */
static void float_text(float value, char out[72]) {
    char digits[40] = "";
    for (int precision = 6; precision <= 9; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        if (strtof(digits, NULL) == value) break;
    }
    Text t = {0};
    text_json_number(&t, strtod(digits, NULL));
    snprintf(out, 72, "%s", t.data ? t.data : "");
    text_free(&t);
}

static void describe(const Model *m, Field f[FIELDS]) {
    static const Field names[FIELDS] = {{"format", MODEL_FORMAT, true}, {"format_version", "", false},
                                        {"program_version", "", true},  {"backbone", "", true},
                                        {"variant", "", true},          {"regime", "", true},
                                        {"height", "", false},          {"width", "", false},
                                        {"hidden", "", false},          {"align_corners", "", false},
                                        {"feature_scale", "", false},   {"threshold", "", false},
                                        {"pixel_threshold", "", false}, {"data_fingerprint", "", true},
                                        {"upscale", "", false},         {"classification", "", false},
                                        {"precision", "", true},        {"tiles", "", false},
                                        {"tile_overlap", "", false},    {"min_area", "", false},
                                        {"border", "", false},          {"roi", "", false},
                                        {"weights_sha256", "", true}};
    memcpy(f, names, sizeof names);
    enum { SIZE = sizeof f->value };
    const bool rules = m->tiles || m->min_area || m->border || m->roi;
    snprintf(f[1].value, SIZE, "%d", m->quantised || m->calibration.verdict != VERDICT_SCORE || rules ? 2 : 1);
    snprintf(f[2].value, SIZE, "%s", m->program_version);
    snprintf(f[3].value, SIZE, "%s", m->trunk.backbone);
    snprintf(f[4].value, SIZE, "%s", m->heads.icpr ? "icpr" : "jims");
    snprintf(f[5].value, SIZE, "%s", m->regime);
    snprintf(f[6].value, SIZE, "%zu", m->geometry.height);
    snprintf(f[7].value, SIZE, "%zu", m->geometry.width);
    snprintf(f[8].value, SIZE, "%zu", m->heads.params.hidden);
    snprintf(f[9].value, SIZE, "%s", m->align_corners ? "true" : "false");
    float_text(m->heads.feature_scale, f[10].value);
    float_text(m->threshold, f[11].value);
    float_text(m->pixel_threshold, f[12].value);
    snprintf(f[13].value, SIZE, "%s", m->fingerprint);
    snprintf(f[14].value, SIZE, "%s", m->geometry.h == m->geometry.h2 ? "false" : "true");
    snprintf(f[15].value, SIZE, "%s", m->heads.map_score ? "false" : "true");
    snprintf(f[16].value, SIZE, "%s", m->quantised ? "int8" : "fp32");
    snprintf(f[17].value, SIZE, "%s", m->tiles ? "true" : "false");
    float_text(m->tile_overlap, f[18].value);
    snprintf(f[19].value, SIZE, "%zu", m->min_area);
    snprintf(f[20].value, SIZE, "%zu", m->border);
    snprintf(f[21].value, SIZE, "%s", m->roi ? "true" : "false");
    snprintf(f[22].value, SIZE, "%s", m->weights_sha256);
}

BlemishStatus model_header(Model *model, Error *e) {
    Field fields[FIELDS];
    Text t = {0};
    describe(model, fields);
    for (size_t i = 0; i < FIELDS; i++) {
        text_format(&t, "%s\"%s\":", i ? "," : "{", fields[i].key);
        if (fields[i].word)
            text_json_string(&t, fields[i].value);
        else
            text_append(&t, fields[i].value, strlen(fields[i].value));
    }
    const struct {
        const char *key, *object;
    } objects[] = {
        {"recipe", model->recipe_json}, {"metrics", model->metrics_json}, {"calibration", model->calibration.json}};
    for (size_t i = 0; i < 3; i++) {
        text_format(&t, ",\"%s\":", objects[i].key);
        const char *object = objects[i].object ? objects[i].object : "null";
        text_append(&t, object, strlen(object));
    }
    text_append(&t, "}", 1);
    if (t.failed) {
        text_free(&t);
        return error_set(e, BLEMISH_ERROR_MEMORY, "model header: out of memory");
    }
    free(model->header_json);
    model->header_json = t.data;
    return BLEMISH_OK;
}

/* ---- reading --------------------------------------------------------------------------------------------- */

/* What a field of the file is read with: the first failure stays in e and makes the rest do nothing. */
typedef struct Reader {
    const TensorFile *file;
    Error *e;
} Reader;

static BlemishStatus refuse(Reader *r, const char *key, const char *found, const char *expected) {
    return error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: %s: found '%.80s', expected %s", r->file->path, key, found,
                     expected);
}

/* malloc-owned; NULL after an error. */
static char *read_text(Reader *r, const char *key) {
    if (r->e->status) return NULL;
    char *text = tensor_file_metadata(r->file, key, r->e);
    if (text == NULL && r->e->status == BLEMISH_OK)
        error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: %s: found nothing, expected this field of a blemish model file",
                  r->file->path, key);
    return text;
}

/* Index of the field's value among names. */
static size_t read_choice(Reader *r, const char *key, const char *const *names) {
    char *text = read_text(r, key), expected[256] = "";
    size_t at = 0;
    if (text == NULL) return 0;
    while (names[at] && strcmp(names[at], text)) at++;
    if (names[at] == NULL) {
        for (size_t i = 0; names[i]; i++) {
            size_t used = strlen(expected);
            snprintf(expected + used, sizeof expected - used, "%s%s", i ? ", " : names[1] ? "one of " : "", names[i]);
        }
        refuse(r, key, text, expected);
        at = 0;
    }
    free(text);
    return at;
}

/* Whether the file has the field: files from before there was one lack it. */
static bool has_field(Reader *r, const char *key) {
    if (r->e->status) return false;
    char *text = tensor_file_metadata(r->file, key, r->e);
    const bool found = text != NULL;
    free(text);
    return found;
}

static bool read_switch(Reader *r, const char *key) {
    static const char *const booleans[] = {"false", "true", NULL};
    return read_choice(r, key, booleans) == 1;
}

static bool read_quantised(Reader *r) {
    static const char *const precisions[] = {"fp32", "int8", NULL};
    return has_field(r, "precision") && read_choice(r, "precision", precisions) == 1;
}

static size_t read_count(Reader *r, const char *key, size_t low, size_t high) {
    char *text = read_text(r, key), expected[80];
    uint64_t value = 0;
    if (text == NULL) return 0;
    if (!count_parse(text, &value) || value < low || value > high) {
        snprintf(expected, sizeof expected, "a whole number from %zu to %zu", low, high);
        refuse(r, key, text, expected);
    }
    free(text);
    return (size_t)value;
}

static float read_float(Reader *r, const char *key, double low, double high) {
    char *text = read_text(r, key), expected[80];
    double value = 0;
    if (text == NULL) return 0;
    if (!number_parse(text, &value) || !(value >= low && value <= high)) {
        snprintf(expected, sizeof expected, "a number from %g to %g", low, high);
        refuse(r, key, text, expected);
    }
    free(text);
    return (float)value;
}

static void read_tiles(Reader *r, Model *m) {
    if (!has_field(r, "tiles")) return;
    m->tiles = read_switch(r, "tiles");
    m->tile_overlap = read_float(r, "tile_overlap", 0, m->tiles ? TILE_OVERLAP_MAX : 0);
}

static void read_word(Reader *r, const char *key, char *out, size_t size) {
    char *text = read_text(r, key);
    if (text == NULL) return;
    if (strlen(text) >= size) refuse(r, key, text, "fewer characters");
    snprintf(out, size, "%s", text);
    free(text);
}

/* A JSON object's text, on one line; NULL where the field is absent. */
static char *read_object(Reader *r, const char *key) {
    if (r->e->status) return NULL;
    char *text = tensor_file_metadata(r->file, key, r->e);
    if (text == NULL) return NULL;
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
        refuse(r, key, text, "a JSON object");
        free(text);
        text = NULL;
    }
    json_decref(object);
    /* Inside strings JSON escapes control characters, so these are white space between its parts. */
    for (char *c = text; c && *c; c++)
        if ((unsigned char)*c < 0x20) *c = ' ';
    return text;
}

static void read_sha256(Reader *r, const char *key, char out[65]) {
    read_word(r, key, out, 65);
    size_t digits = strspn(out, "0123456789abcdef");
    if (r->e->status == BLEMISH_OK && (out[digits] != '\0' || (digits != 0 && digits != 64)))
        refuse(r, key, out, "64 hexadecimal digits or nothing");
}

static BlemishStatus read_fields(Model *m, Reader *r, Error *e) {
    static const char *const formats[] = {MODEL_FORMAT, NULL};
    static const char *const versions[] = {"1", "2", NULL};
    static const char *const variants[] = {"jims", "icpr", NULL};
    static const char *const regimes[] = {"none", "unsupervised", "supervised", NULL};
    const char *backbones[16] = {0};
    for (size_t i = 0; i < 15 && trunk_name(i); i++) backbones[i] = trunk_name(i);
    read_choice(r, "format", formats);
    read_choice(r, "format_version", versions);
    m->quantised = read_quantised(r);
    const char *backbone = backbones[read_choice(r, "backbone", backbones)];
    bool icpr = read_choice(r, "variant", variants) == 1;
    snprintf(m->regime, sizeof m->regime, "%s", regimes[read_choice(r, "regime", regimes)]);
    read_word(r, "program_version", m->program_version, sizeof m->program_version);
    size_t height = read_count(r, "height", SIDE_MIN, SIDE_MAX), width = read_count(r, "width", SIDE_MIN, SIDE_MAX);
    size_t hidden = read_count(r, "hidden", LIFT_BLOCK, HIDDEN_MAX);
    m->align_corners = read_switch(r, "align_corners");
    bool upscale = !has_field(r, "upscale") || read_switch(r, "upscale");
    bool classification = !has_field(r, "classification") || read_switch(r, "classification");
    const bool roi = has_field(r, "roi") && read_switch(r, "roi");
    float scale = read_float(r, "feature_scale", 1e-6, 1e6);
    m->threshold = read_float(r, "threshold", 0, 1);
    m->pixel_threshold = read_float(r, "pixel_threshold", 0, 1);
    if (has_field(r, "min_area")) m->min_area = read_count(r, "min_area", 0, BLEMISH_MIN_AREA_MAX);
    if (has_field(r, "border")) m->border = read_count(r, "border", 0, BLEMISH_BORDER_MAX);
    read_tiles(r, m);
    read_sha256(r, "data_fingerprint", m->fingerprint);
    if (has_field(r, "weights_sha256")) read_sha256(r, "weights_sha256", m->weights_sha256);
    m->recipe_json = read_object(r, "recipe");
    m->metrics_json = read_object(r, "metrics");
    char *calibration = read_object(r, "calibration");
    if (calibration) calibration_parse(&m->calibration, calibration, r->file->path, e);
    if (e->status == BLEMISH_OK && height * width > PIXELS_MAX)
        error_set(e, BLEMISH_ERROR_FORMAT, "%s: height x width: found %zu x %zu, expected at most %d pixels",
                  r->file->path, height, width, PIXELS_MAX);
    if (e->status == BLEMISH_OK && hidden % LIFT_BLOCK)
        error_set(e, BLEMISH_ERROR_FORMAT, "%s: hidden: found %zu, expected a multiple of %d", r->file->path, hidden,
                  LIFT_BLOCK);
    if (e->status == BLEMISH_OK && m->quantised && icpr) refuse(r, "variant", "icpr", "jims in a quantised model");
    if (e->status) return e->status;
    if (m->quantised ? trunk_load_quantised(&m->trunk, backbone, r->file, e)
                     : trunk_load_folded(&m->trunk, backbone, r->file, e))
        return e->status;
    if (geometry_make(&m->geometry, height, width, m->trunk.c2, m->trunk.c3, e)) return e->status;
    if (!upscale) geometry_at_layer2(&m->geometry);
    if (heads_open(&m->heads, m->geometry.c, hidden, e)) return e->status;
    if (m->quantised ? heads_load_quantised(&m->heads, &m->trunk, r->file, e) : heads_load(&m->heads, r->file, e))
        return e->status;
    if (roi && roi_read(m, r->file, e)) return e->status;
    m->heads.icpr = icpr;
    m->heads.map_score = !classification;
    m->heads.feature_scale = scale;
    return model_header(m, e);
}

BlemishStatus model_read(Model *model, const char *path, Error *e) {
    *model = (Model){0};
    if (tensor_file_open(&model->file, path, e)) return e->status;
    e->status = BLEMISH_OK; /* it is what tells the fields' readers to go on */
    Reader reader = {.file = &model->file, .e = e};
    read_fields(model, &reader, e);
    if (e->status) model_close(model);
    return e->status;
}

/* ---- writing --------------------------------------------------------------------------------------------- */

Tensor *list_tensor(Listing *l, TensorType type, size_t rank, const size_t *shape, const void *data) {
    Tensor *t = &l->tensors[l->count];
    *t = (Tensor){.name = l->names[l->count++], .type = type, .rank = rank, .data = data, .count = 1};
    for (size_t i = 0; i < rank; i++) t->count *= t->shape[i] = shape[i];
    return t;
}

static BlemishStatus list_trunk(Listing *l, const Trunk *trunk, Error *e) {
    for (size_t i = 0; i < trunk->count; i++) {
        const TrunkConv *conv = &trunk->convs[i];
        const size_t shape[4] = {conv->out, conv->in, conv->kernel, conv->kernel};
        float *owned;
        const float *weight = trunk_weight(trunk, conv, &owned, e);
        if (weight == NULL) return e->status;
        l->owned[l->count] = owned;
        snprintf(l->names[l->count], sizeof l->names[0], "backbone.%s.weight", conv->name);
        list_tensor(l, TENSOR_F32, 4, shape, weight);
        snprintf(l->names[l->count], sizeof l->names[0], "backbone.%s.bias", conv->name);
        list_tensor(l, TENSOR_F32, 1, &conv->out, conv->bias);
    }
    return BLEMISH_OK;
}

BlemishStatus list_head(Listing *l, const Heads *heads, size_t index, Error *e) {
    TrunkTensor head;
    heads_tensor(heads, index, &head);
    snprintf(l->names[l->count], sizeof l->names[0], "heads.%s", head.name);
    Tensor *t = list_tensor(l, TENSOR_F32, head.rank, head.shape, NULL);
    float *values = l->owned[l->count - 1] = array_new(t->count, sizeof *values, e);
    if (values == NULL) return e->status;
    heads_get(heads, index, values);
    t->data = values;
    return BLEMISH_OK;
}

static BlemishStatus list_all(Listing *l, const Model *model, Error *e) {
    if (model->quantised ? list_quantised(l, model, e) : list_trunk(l, &model->trunk, e)) return e->status;
    for (size_t i = 0; i < HEAD_TENSORS && !model->quantised; i++)
        if (list_head(l, &model->heads, i, e)) return e->status;
    const size_t shape[2] = {model->geometry.height, model->geometry.width};
    snprintf(l->names[l->count], sizeof l->names[0], "roi");
    if (model->roi) list_tensor(l, TENSOR_U8, 2, shape, model->roi);
    return BLEMISH_OK;
}

BlemishStatus model_write(const Model *model, const char *path, Error *e) {
    Field fields[FIELDS];
    MetadataEntry entries[FIELDS + 3];
    size_t count = 0;
    describe(model, fields);
    for (; count < FIELDS; count++) entries[count] = (MetadataEntry){fields[count].key, fields[count].value};
    if (model->recipe_json) entries[count++] = (MetadataEntry){"recipe", model->recipe_json};
    if (model->metrics_json) entries[count++] = (MetadataEntry){"metrics", model->metrics_json};
    if (model->calibration.json) entries[count++] = (MetadataEntry){"calibration", model->calibration.json};
    Listing *l = array_new(1, sizeof *l, e);
    if (l == NULL) return e->status;
    BlemishStatus status = list_all(l, model, e);
    if (status == BLEMISH_OK) status = safetensors_write(path, l->tensors, l->count, entries, count, e);
    for (size_t i = 0; i < LISTING_MAX; i++) array_free(l->owned[i]);
    array_free(l);
    return status;
}
