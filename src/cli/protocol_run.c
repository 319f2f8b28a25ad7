/* One run of a protocol in a folder of its own: identity.json while and metrics.json after it, a checkpoint between. */
#include "protocol.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXACT = 17 }; /* digits that read back to the same double */

const struct ProtocolMetric protocol_metrics[PROTOCOL_METRICS] = {{"i_auroc", "I-AUROC"},
                                                                  {"ap_det", "AP-det"},
                                                                  {"p_auroc", "P-AUROC"},
                                                                  {"aupro", "AUPRO"},
                                                                  {"seg_i_auroc", "seg-I-AUROC"}};

const char *protocol_category(const Protocol *p, size_t category) {
    return p->categories[category] ? p->categories[category] : p->name;
}

/* Takes the reference. */
static bool write_json(const char *path, json_t *value) {
    char *text = value ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(EXACT)) : NULL;
    json_decref(value);
    bool written = text && file_write(path, text, strlen(text));
    if (!text) fail("memory is short");
    free(text);
    return written;
}

/* ---- identity -------------------------------------------------------------------------------------------- */

static uint64_t hash_text(const char *text, uint64_t hash) { /* FNV-1a, the end included */
    do hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    while (*text++);
    return hash;
}

/* Which images with which labels, masks and splits; a data set may move to another folder as a whole. */
static uint64_t hash_listing(const BlemishDataset *dataset, const char *folder) {
    uint64_t hash = 0xcbf29ce484222325u;
    size_t length = strlen(folder);
    for (size_t i = 0; i < blemish_dataset_count(dataset); i++) {
        BlemishSample s = blemish_dataset_sample(dataset, i);
        char state[] = {(char)('1' + s.label), s.split == BLEMISH_SPLIT_TEST ? 'e' : 'r', s.mask_path ? 'm' : '-', 0};
        hash = hash_text(s.path + (strncmp(s.path, folder, length) ? 0 : length), hash_text(state, hash));
    }
    return hash;
}

/* The checksum of builtin's weights, which another build may have others of; "" for other backbones. */
static const char *compiled_in(const char *backbone) {
    BlemishWeights known;
    for (size_t i = 0; blemish_weights_known(i, &known); i++) {
        if (!strcmp(known.backbone, backbone) && !known.url[0]) return known.sha256_prefix;
    }
    return "";
}

/* What makes two runs the same: a new reference, NULL when memory is short. */
static json_t *make_identity(const Protocol *p, const Run *run, const BlemishDataset *dataset) {
    const BlemishRecipe *recipe = p->variations[run->variation].recipe;
    const char *key, *help, *backbone = p->backbones[run->backbone];
    char value[64], listing[20];
    json_t *keys = json_object();
    for (size_t i = 0; blemish_recipe_key(recipe, i, &key, value, &help); i++)
        json_object_set_new(keys, key, json_string(value));
    snprintf(listing, sizeof listing, "%016" PRIx64, hash_listing(dataset, p->data));
    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:s, s:i, s:s, s:I}", "version", blemish_version(), "recipe", keys,   //
                     "backbone", backbone, "weights", json_text(p->weights ? p->weights : compiled_in(backbone)),     //
                     "category", json_text(protocol_category(p, run->category)), "masks", p->masks[run->masks].label, //
                     "fold", p->folds[run->fold], "listing", listing, "images",
                     (json_int_t)blemish_dataset_count(dataset));
}

/* The metrics of a finished run of the same identity. */
static bool load_metrics(const char *path, const json_t *identity, Run *run) {
    json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    bool same = json_equal(json_object_get(file, "identity"), identity);
    json_t *metrics = json_object_get(file, "metrics");
    for (size_t i = 0; same && i < PROTOCOL_METRICS; i++) {
        json_t *value = json_object_get(metrics, protocol_metrics[i].key);
        same = json_is_number(value) || json_is_null(value);
        run->values[i] = json_is_number(value) ? json_number_value(value) : NAN;
    }
    json_decref(file);
    return same;
}

/* Notes what the folder's checkpoint is of; one of another identity goes away. */
static bool claim_folder(const char *path, const char *checkpoint, json_t *identity) {
    json_t *before = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    bool same = json_equal(before, identity);
    json_decref(before);
    if (same) return true;
    unlink(checkpoint);
    return write_json(path, json_incref(identity));
}

/* ---- the run --------------------------------------------------------------------------------------------- */

typedef struct Folder {
    char path[PATH_SIZE], identity[PATH_SIZE + 32], metrics[PATH_SIZE + 32], checkpoint[PATH_SIZE + 32],
        log[PATH_SIZE + 32], model[PATH_SIZE + 32];
} Folder;

/* "OUT/runs/capsule-all-base-builtin-fold0-seed0": characters that are awkward in file names become '_'. */
static int make_folder(const Protocol *p, const Run *run, Folder *f) {
    char name[256];
    int length = snprintf(name, sizeof name, "%s-%s-%s-%s-fold%d-seed%zu", protocol_category(p, run->category),
                          p->masks[run->masks].label, p->variations[run->variation].name, p->backbones[run->backbone],
                          p->folds[run->fold], run->seed);
    if (length >= (int)sizeof name)
        return fail("%s: the category's name is too long", protocol_category(p, run->category));
    for (char *c = name; *c; c++) {
        if ((unsigned char)*c <= ' ' || strchr("/\\%:*?\"<>|", *c)) *c = '_';
    }
    snprintf(f->path, sizeof f->path, "%.3000s/runs/%s", p->out, name);
    if (mkdir(f->path, 0777) && errno != EEXIST) return fail("%s: %s", f->path, strerror(errno));
    snprintf(f->identity, sizeof f->identity, "%s/identity.json", f->path);
    snprintf(f->metrics, sizeof f->metrics, "%s/metrics.json", f->path);
    snprintf(f->checkpoint, sizeof f->checkpoint, "%s/checkpoint", f->path);
    snprintf(f->log, sizeof f->log, "%s/losses.csv", f->path);
    snprintf(f->model, sizeof f->model, "%s/model.blemish", f->path);
    return EXIT_OK;
}

static int train(const Protocol *p, const Run *run, const BlemishDataset *dataset, const Folder *f,
                 BlemishModel **model, ProgressBar *bar, bool *stopped) {
    BlemishTrainSettings settings;
    blemish_train_defaults(&settings);
    settings.backbone = p->backbones[run->backbone];
    settings.weights = p->weights;
    settings.checkpoint = f->checkpoint;
    settings.resume = 1;
    settings.log_csv = f->log;
    settings.threads = (int)p->threads;
    settings.cache_mb = p->cache_mb;
    settings.progress = progress_show;
    settings.progress_user = bar;
    BlemishStatus status = blemish_train(model, dataset, p->variations[run->variation].recipe, &settings);
    progress_end(bar);
    *stopped = status == BLEMISH_ERROR_INTERRUPTED;
    if (status && !*stopped) fail("%s", *model ? blemish_model_error(*model) : "memory is short");
    return status ? EXIT_FAILED : EXIT_OK;
}

static int train_and_evaluate(const Protocol *p, Run *run, const BlemishDataset *dataset, const Folder *f,
                              json_t *identity, ProgressBar *bar, bool *stopped) {
    BlemishModel *model = NULL;
    BlemishMetrics metrics;
    int code = claim_folder(f->identity, f->checkpoint, identity) ? train(p, run, dataset, f, &model, bar, stopped)
                                                                  : EXIT_FAILED;
    if (!code) code = evaluate_tests(model, dataset, p->threads, &metrics, bar, stopped);
    if (!code && p->keep_models && blemish_model_save(model, f->model)) code = fail("%s", blemish_model_error(model));
    if (!code) {
        json_t *result = json_pack("{s:O, s:s, s:o}", "identity", identity, "regime", blemish_model_info(model).regime,
                                   "metrics", json_metrics(&metrics));
        if (!write_json(f->metrics, result) || !load_metrics(f->metrics, identity, run)) code = EXIT_FAILED;
    }
    if (!code) unlink(f->checkpoint);
    blemish_model_close(model);
    return code;
}

BlemishDataset *protocol_data(const Protocol *p, const Run *run) {
    BlemishDatasetSettings settings = p->settings;
    BlemishDataset *dataset;
    settings.category = p->categories[run->category];
    settings.fold = p->folds[run->fold];
    settings.mask_ratio = p->masks[run->masks].ratio;
    settings.mask_count = p->masks[run->masks].count;
    if (!blemish_dataset_open(&dataset, p->data, &settings)) return dataset;
    fail("%s", dataset ? blemish_dataset_error(dataset) : "memory is short");
    blemish_dataset_close(dataset);
    return NULL;
}

int protocol_run(const Protocol *p, Run *run, ProgressBar *bar, bool *stopped) {
    Folder folder;
    char seed[24];
    BlemishRecipe *recipe = p->variations[run->variation].recipe;
    snprintf(seed, sizeof seed, "%zu", run->seed);
    if (blemish_recipe_set(recipe, "train.seed", seed)) return fail("%s", blemish_recipe_error(recipe));
    int code = make_folder(p, run, &folder);
    BlemishDataset *dataset = code ? NULL : protocol_data(p, run);
    json_t *identity = dataset ? make_identity(p, run, dataset) : NULL;
    if (!code && !dataset) code = EXIT_FAILED;
    if (!code && !identity) code = fail("memory is short");
    if (!code && !load_metrics(folder.metrics, identity, run))
        code = train_and_evaluate(p, run, dataset, &folder, identity, bar, stopped);
    run->done = !code;
    json_decref(identity);
    blemish_dataset_close(dataset);
    return code;
}
