#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADDRESS "https://download.pytorch.org/models/"
#define KNOWN(backbone, prefix)                                                                                        \
    { backbone "-" prefix ".pth", backbone, prefix, ADDRESS backbone "-" prefix ".pth" }

/* torchvision's IMAGENET1K_V1 weights; their names carry the first digits of their checksums. */
static const BlemishWeights known[] = {
    KNOWN("wide_resnet50_2", "95faca4d"),
    KNOWN("resnet50", "0676ba61"),
    KNOWN("resnet34", "b627a593"),
    KNOWN("resnet18", "f37072fd"),
};
enum { KNOWN_COUNT = sizeof known / sizeof *known, PATH_SIZE = 4096, TENSORS_MAX = 256 };

int weights_known(size_t index, BlemishWeights *weights) {
    const EmbeddedWeights *own = index < KNOWN_COUNT ? NULL : embedded_weights(index - KNOWN_COUNT);
    if (index < KNOWN_COUNT)
        *weights = known[index];
    else if (own)
        *weights = own->known;
    return index < KNOWN_COUNT || own;
}

bool weights_published(const char *sha256) {
    for (size_t i = 0; i < KNOWN_COUNT; i++)
        if (strncmp(sha256, known[i].sha256_prefix, strlen(known[i].sha256_prefix)) == 0) return true;
    return false;
}

static const EmbeddedWeights *find_embedded(const char *backbone) {
    const EmbeddedWeights *own;
    for (size_t i = 0; (own = embedded_weights(i)); i++)
        if (strcmp(own->known.backbone, backbone) == 0) break;
    return own;
}

bool weights_embedded(const char *backbone) {
    return find_embedded(backbone) != NULL;
}

int weights_folder(size_t index, char *path, size_t size) {
    const char *own = getenv("BLEMISH_WEIGHTS"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folders[3][PATH_SIZE];
    size_t count = 0;
    if (own && own[0]) snprintf(folders[count++], PATH_SIZE, "%s", own);
    if (cache && cache[0] == '/') /* the XDG specification has relative paths ignored */
        snprintf(folders[count++], PATH_SIZE, "%s/blemish", cache);
    else if (home && home[0])
        snprintf(folders[count++], PATH_SIZE, "%s/.cache/blemish", home);
    snprintf(folders[count++], PATH_SIZE, "%s/models", BLEMISH_SOURCE_DIR);
    return index < count && (size_t)snprintf(path, size, "%s", folders[index]) < size;
}

static BlemishStatus unknown_name(const char *what, const char *name, Error *e) {
    Text names = {0};
    BlemishWeights w;
    for (size_t i = 0; weights_known(i, &w); i++) text_format(&names, "%s%s", i ? ", " : "", w.backbone);
    error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: found '%s', expected one of %s", what, name,
              names.failed ? "" : names.data);
    text_free(&names);
    return e->status;
}

static BlemishStatus join(char *path, size_t size, const char *folder, const char *name, const char *end, Error *e) {
    const int n = snprintf(path, size, "%s/%s%s", folder, name, end);
    if (n >= 0 && (size_t)n < size) return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_ARGUMENT, "%s/%s%s: the path is longer than %zu bytes", folder, name, end, size);
}

BlemishStatus weights_find(const char *backbone, char *path, size_t size, Error *e) {
    const BlemishWeights *w = known;
    if (size) path[0] = '\0';
    if (weights_embedded(backbone)) return BLEMISH_OK;
    while (w < known + KNOWN_COUNT && strcmp(w->backbone, backbone) != 0) w++;
    if (w == known + KNOWN_COUNT) return unknown_name("backbone", backbone, e);
    char folder[PATH_SIZE];
    Text searched = {0};
    for (size_t i = 0; weights_folder(i, folder, sizeof folder); i++) {
        const char *const names[3][2] = {{w->name, ""}, {backbone, ".pth"}, {backbone, ".safetensors"}};
        for (size_t k = 0; k < 3; k++) {
            if (join(path, size, folder, names[k][0], names[k][1], e) != BLEMISH_OK) {
                text_free(&searched);
                return e->status;
            }
            if (access(path, R_OK) == 0) {
                text_free(&searched);
                return BLEMISH_OK;
            }
        }
        text_format(&searched, "%s%s", i ? ", " : "", folder);
    }
    if (size) path[0] = '\0';
    error_set(e, BLEMISH_ERROR_IO,
              "%s: found no weights in %s, expected %s, %s.pth or %s.safetensors; blemish weights fetch %s downloads "
              "them",
              backbone, searched.failed ? "" : searched.data, w->name, backbone, backbone, backbone);
    text_free(&searched);
    return e->status;
}

static BlemishStatus not_its_file(const char *path, const char *backbone, Error *e) {
    return error_set(e, BLEMISH_ERROR_ARGUMENT,
                     "%s: backbone: found %s, whose weights are compiled in, expected the file's own, such as resnet18",
                     path, backbone);
}

BlemishStatus weights_open(TensorFile *out, const char *backbone, const char *path, char sha256[65], Error *e) {
    char found[PATH_SIZE];
    const EmbeddedWeights *own = find_embedded(backbone);
    if (own && path) return not_its_file(path, backbone, e);
    if (own) {
        snprintf(sha256, 65, "%s", own->known.sha256_prefix);
        return tensor_file_open_bytes(out, own->known.name, own->bytes, (size_t)(own->end - own->bytes), e);
    }
    if (path == NULL && weights_find(backbone, found, sizeof found, e)) return e->status;
    if (path == NULL) path = found;
    if (tensor_file_open(out, path, e)) return e->status;
    const BlemishStatus status = sha256_file(path, sha256, e);
    if (status != BLEMISH_OK) tensor_file_close(out);
    return status;
}

/* The folder that files are written to, created with its parents. */
static BlemishStatus make_folder(char folder[PATH_SIZE], Error *e) {
    if (!weights_folder(0, folder, PATH_SIZE)) return error_set(e, BLEMISH_ERROR_IO, "found no folder for weights");
    for (char *at = folder + 1;; at++) {
        if (*at != '/' && *at != '\0') continue;
        const char end = *at;
        *at = '\0';
        if (mkdir(folder, 0777) < 0 && errno != EEXIST) return error_errno(e, "%s: cannot create", folder);
        *at = end;
        if (end == '\0') return BLEMISH_OK;
    }
}

static BlemishStatus check_trunk(const char *path, const char **backbone, Error *e) {
    TrunkTensor expected[TENSORS_MAX];
    TensorFile file;
    if (tensor_file_open(&file, path, e)) return e->status;
    BlemishStatus status = BLEMISH_OK;
    if (*backbone == NULL) {
        *backbone = trunk_recognise(&file);
        if (*backbone == NULL)
            status = error_set(e, BLEMISH_ERROR_FORMAT, "%s: found no trunk of a known backbone", path);
    } else {
        const size_t count = trunk_tensors(*backbone, expected, TENSORS_MAX);
        const Tensor *found;
        if (count == 0) status = unknown_name("backbone", *backbone, e);
        for (size_t i = 0; i < count && status == BLEMISH_OK; i++)
            status = tensor_file_get(&file, expected[i].name, expected[i].rank, expected[i].shape, &found, e);
    }
    tensor_file_close(&file);
    return status;
}

/* Copies and checks in one pass; prefix NULL: any checksum will do. */
static BlemishStatus copy_checked(const char *from, const char *to, const char *prefix, Error *e) {
    FILE *in = fopen(from, "rb");
    if (in == NULL) return error_errno(e, "%s: cannot open", from);
    AtomicFile out;
    BlemishStatus status = atomic_open(&out, to, e);
    if (status != BLEMISH_OK) {
        fclose(in);
        return status;
    }
    Sha256 sha;
    uint8_t buffer[1 << 16], digest[32];
    char hex[65];
    size_t n;
    sha256_start(&sha);
    while (status == BLEMISH_OK && (n = fread(buffer, 1, sizeof buffer, in)) > 0) {
        sha256_add(&sha, buffer, n);
        status = atomic_write(&out, buffer, n, e);
    }
    if (status == BLEMISH_OK && ferror(in)) status = error_errno(e, "%s: cannot read", from);
    fclose(in);
    sha256_finish(&sha, digest);
    sha256_hex(digest, hex);
    if (status == BLEMISH_OK && prefix && strncmp(hex, prefix, strlen(prefix)) != 0)
        status = error_set(e, BLEMISH_ERROR_FORMAT, "%s: sha256: found %s, expected %s...", from, hex, prefix);
    if (status == BLEMISH_OK) return atomic_commit(&out, e);
    atomic_abandon(&out);
    return status;
}

BlemishStatus weights_import(const char *file, const char *backbone, char *path, size_t size, Error *e) {
    char folder[PATH_SIZE];
    const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file, *dot = strrchr(base, '.');
    const BlemishWeights *w = known;
    while (w < known + KNOWN_COUNT && strcmp(w->name, base) != 0) w++;
    if (w == known + KNOWN_COUNT) w = NULL;
    if (backbone && weights_embedded(backbone)) return not_its_file(file, backbone, e);
    if (check_trunk(file, &backbone, e) || make_folder(folder, e)) return e->status;
    if (w == NULL) base = backbone;
    const char *end = w ? "" : dot && strcmp(dot, ".safetensors") == 0 ? ".safetensors" : ".pth";
    if (join(path, size, folder, base, end, e)) return e->status;
    return copy_checked(file, path, w ? w->sha256_prefix : NULL, e);
}

BlemishStatus weights_fetch(const char *name, const char *base_url, BlemishProgressFn progress, void *user, char *path,
                            size_t size, Error *e) {
    char folder[PATH_SIZE], hex[65];
    const BlemishWeights *w = known;
    if (weights_embedded(name))
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: its weights are compiled in, there is nothing to fetch", name);
    while (w < known + KNOWN_COUNT && strcmp(w->name, name) != 0 && strcmp(w->backbone, name) != 0) w++;
    if (w == known + KNOWN_COUNT) return unknown_name("weights", name, e);
    if (make_folder(folder, e) || join(path, size, folder, w->name, "", e)) return e->status;
    Error unreadable; /* no failure: it is downloaded again */
    if (access(path, F_OK) == 0 && sha256_file(path, hex, &unreadable) == BLEMISH_OK &&
        strncmp(hex, w->sha256_prefix, strlen(w->sha256_prefix)) == 0)
        return BLEMISH_OK;
    Text url = {0};
    const size_t length = base_url ? strlen(base_url) : 0;
    if (base_url)
        text_format(&url, "%s%s%s", base_url, length && base_url[length - 1] == '/' ? "" : "/", w->name);
    else
        text_format(&url, "%s", w->url);
    /* A caller's own server may be on its own network; the published address is never read in the clear. */
    BlemishStatus status =
        url.failed ? error_set(e, BLEMISH_ERROR_MEMORY, "out of memory")
                   : fetch_file(url.data, base_url ? "http,https" : "https", w->sha256_prefix, path, progress, user, e);
    text_free(&url);
    return status;
}
