#include "store/pickle.h"
#include "store/reader.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>

/* PyTorch's files: a pickle whose tensors name storages, and the storages' bytes, either as entries of a zip archive
 * (torch 1.6 and later) or one after the other behind the pickle. */
typedef struct Storage {
    const char *key;
    size_t key_length;
    TensorType type;
    size_t count;
    const uint8_t *data; /* NULL until its place is known */
} Storage;

typedef struct Reader {
    TensorFile *file;
    Pickle pickle;
    Storage *storages; /* in order of key */
    size_t count, capacity;
    size_t loaded, copied; /* bytes allocated for storages and for strided tensors: each at most the file's length */
    zip_t *zip;            /* NULL in a legacy file */
    char prefix[128];      /* the archive's folder, with its slash */
    Error *e;
} Reader;

static BlemishStatus bad(Reader *r, const char *what) {
    return error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: %s", r->file->path, what);
}

/* ---- storages ------------------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b) {
    const Storage *x = a, *y = b;
    const size_t n = x->key_length < y->key_length ? x->key_length : y->key_length;
    const int order = memcmp(x->key, y->key, n);
    return order ? order : (x->key_length > y->key_length) - (x->key_length < y->key_length);
}

static Storage *find_storage(const Reader *r, const PickleValue *key) {
    const Storage wanted = {.key = key->text, .key_length = key->length};
    return r->count ? bsearch(&wanted, r->storages, r->count, sizeof wanted, by_key) : NULL;
}

/* ("storage", type, key, device, element count[, view]) */
static BlemishStatus add_storage(Reader *r, const PickleValue *id) {
    const PickleValue *type = pickle_item(&r->pickle, id, 1), *key = pickle_item(&r->pickle, id, 2);
    const PickleValue *count = pickle_item(&r->pickle, id, 4), *view = pickle_item(&r->pickle, id, 5);
    if (id->kind != PICKLE_TUPLE || !pickle_text_is(pickle_item(&r->pickle, id, 0), "storage") || count == NULL ||
        type->kind != PICKLE_GLOBAL || type->integer < PICKLE_STORAGE_TYPE || key->kind != PICKLE_TEXT ||
        count->kind != PICKLE_INT || count->integer < 0)
        return bad(r, "storage: expected a tuple of 'storage', type, key, device, count");
    if (view && view->kind != PICKLE_NONE) return bad(r, "storage: refuses a view of another storage");
    Storage s = {.key = key->text,
                 .key_length = key->length,
                 .count = (size_t)count->integer,
                 .type = (TensorType)(type->integer - PICKLE_STORAGE_TYPE)};
    if (s.count > r->file->storage->length / tensor_type_size(s.type))
        return error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: storage: found %zu elements, expected what the file can hold",
                         r->file->path, s.count);
    Storage *storages = array_grow(r->storages, &r->capacity, r->count + 1, sizeof *storages, r->e);
    if (storages == NULL) return r->e->status;
    r->storages = storages;
    storages[r->count++] = s;
    return BLEMISH_OK;
}

/* Every persistent id of the pickle, once. */
static BlemishStatus list_storages(Reader *r) {
    for (size_t i = 0; i < r->pickle.count; i++) {
        const PickleValue *v = &r->pickle.values[i];
        if (v->kind == PICKLE_STORAGE && add_storage(r, pickle_item(&r->pickle, v, 0))) return r->e->status;
    }
    if (r->count) qsort(r->storages, r->count, sizeof *r->storages, by_key);
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        const Storage *s = &r->storages[i];
        if (kept && by_key(s, &r->storages[kept - 1]) == 0) {
            if (s->type != r->storages[kept - 1].type || s->count != r->storages[kept - 1].count)
                return bad(r, "storage: found two descriptions of one storage");
        } else {
            r->storages[kept++] = *s;
        }
    }
    r->count = kept;
    return BLEMISH_OK;
}

/* ---- tensors -------------------------------------------------------------------------------------------- */

static BlemishStatus sizes_of(Reader *r, const PickleValue *tuple, size_t *out, size_t rank) {
    if (tuple->kind != PICKLE_TUPLE || tuple->count != rank) return bad(r, "tensor: expected as many strides as sizes");
    for (size_t i = 0; i < rank; i++) {
        const PickleValue *n = pickle_item(&r->pickle, tuple, i);
        if (n->kind != PICKLE_INT || n->integer < 0) return bad(r, "tensor: expected sizes and strides of 0 or more");
        out[i] = (size_t)n->integer;
    }
    return BLEMISH_OK;
}

static bool is_row_major(const Tensor *t, const size_t *stride) {
    size_t expected = 1;
    for (size_t i = t->rank; i-- > 0; expected *= t->shape[i])
        if (t->shape[i] != 1 && stride[i] != expected) return false;
    return true;
}

/* One past the last element that a tensor of one element or more reaches; false on overflow. */
static bool reach(const Tensor *t, const size_t *stride, size_t offset, size_t *end) {
    *end = offset;
    for (size_t i = 0; i < t->rank; i++) {
        size_t step;
        if (!size_mul(t->shape[i] - 1, stride[i], &step) || !size_add(*end, step, end)) return false;
    }
    return size_add(*end, 1, end);
}

static BlemishStatus copy_strided(Reader *r, Tensor *t, const size_t *stride, const uint8_t *from) {
    const size_t size = tensor_type_size(t->type), bytes = t->count * size;
    if (bytes > r->file->storage->length - r->copied)
        return bad(r, "tensor: refuses strides that make more data than the file holds");
    uint8_t *to = tensor_file_block(r->file, bytes, r->e);
    if (to == NULL) return r->e->status;
    r->copied += bytes;
    t->data = to;
    size_t index[TENSOR_RANK_MAX] = {0}, at = 0;
    for (size_t n = 0; n < t->count; n++) {
        memcpy(to + n * size, from + at * size, size);
        for (size_t i = t->rank; i-- > 0;) { /* the next index, last axis fastest */
            at += stride[i];
            if (++index[i] < t->shape[i]) break;
            at -= stride[i] * t->shape[i];
            index[i] = 0;
        }
    }
    return BLEMISH_OK;
}

static BlemishStatus load_entry(Reader *r, const char *name, size_t *length, const uint8_t **out);

static BlemishStatus load_storage(Reader *r, Storage *s) {
    char name[sizeof r->prefix + 64];
    size_t length;
    if (s->data) return BLEMISH_OK;
    if (r->zip == NULL || s->key_length > 32 || memchr(s->key, '\0', s->key_length))
        return bad(r, "storage: found a key without data");
    snprintf(name, sizeof name, "%sdata/%.*s", r->prefix, (int)s->key_length, s->key);
    if (load_entry(r, name, &length, &s->data)) return r->e->status;
    if (length != s->count * tensor_type_size(s->type))
        return error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: %s: found %zu bytes, expected %zu", r->file->path, name,
                         length, s->count * tensor_type_size(s->type));
    return BLEMISH_OK;
}

/* _rebuild_tensor(storage, offset, sizes, strides) and _rebuild_tensor_v2(the same, and what gradients need). */
static BlemishStatus add_tensor(Reader *r, const PickleValue *name, const PickleValue *arguments) {
    const PickleValue *id = pickle_item(&r->pickle, arguments, 0), *offset = pickle_item(&r->pickle, arguments, 1);
    const PickleValue *sizes = pickle_item(&r->pickle, arguments, 2), *strides = pickle_item(&r->pickle, arguments, 3);
    if (strides == NULL || id->kind != PICKLE_STORAGE || offset->kind != PICKLE_INT || offset->integer < 0 ||
        sizes->kind != PICKLE_TUPLE)
        return bad(r, "tensor: expected storage, offset, sizes, strides");
    const PickleValue *tuple = pickle_item(&r->pickle, id, 0);
    Storage *s = find_storage(r, pickle_item(&r->pickle, tuple, 2));
    if (s == NULL) return bad(r, "tensor: found an unknown storage");
    Tensor t = {.type = s->type, .rank = sizes->count};
    size_t stride[TENSOR_RANK_MAX], end, bytes;
    if (t.rank > TENSOR_RANK_MAX) return bad(r, "tensor: found more than 8 dimensions");
    if (sizes_of(r, sizes, t.shape, t.rank) || sizes_of(r, strides, stride, t.rank)) return r->e->status;
    if (!tensor_extent(t.type, t.rank, t.shape, &t.count, &bytes)) return bad(r, "tensor: found a shape beyond memory");
    if (load_storage(r, s)) return r->e->status;
    t.data = s->data;
    if (t.count) {
        if (!reach(&t, stride, (size_t)offset->integer, &end) || end > s->count)
            return bad(r, "tensor: found a shape that reaches beyond its storage");
        t.data = s->data + (size_t)offset->integer * tensor_type_size(t.type);
        if (!is_row_major(&t, stride) && copy_strided(r, &t, stride, t.data)) return r->e->status;
    }
    const char *text = name->text;
    size_t length = name->length;
    if (length > 7 && memcmp(text, "module.", 7) == 0) { /* torch.nn.DataParallel's */
        text += 7;
        length -= 7;
    }
    return tensor_file_add(r->file, t, text, length, r->e);
}

static bool printable(const PickleValue *name) {
    if (name->kind != PICKLE_TEXT) return false;
    for (size_t i = 0; i < name->length; i++)
        if (name->text[i] < 0x20 || name->text[i] > 0x7e) return false;
    return true;
}

/* The dict of tensors: the root, or what a training checkpoint keeps under a usual name. */
static const PickleValue *state_dict(const Reader *r) {
    static const char *const usual[] = {"state_dict", "model", "model_state_dict"};
    const PickleValue *root = &r->pickle.values[r->pickle.root];
    for (size_t i = 0; root->kind == PICKLE_DICT && i < root->count; i += 2)
        for (size_t k = 0; k < sizeof usual / sizeof *usual; k++) {
            const PickleValue *value = pickle_item(&r->pickle, root, i + 1);
            if (pickle_text_is(pickle_item(&r->pickle, root, i), usual[k]) && value->kind == PICKLE_DICT) return value;
        }
    return root;
}

static BlemishStatus add_tensors(Reader *r) {
    const PickleValue *dict = state_dict(r);
    if (dict->kind != PICKLE_DICT) return bad(r, "found no dict, expected a state_dict");
    for (size_t i = 0; i < dict->count; i += 2) {
        const PickleValue *name = pickle_item(&r->pickle, dict, i), *value = pickle_item(&r->pickle, dict, i + 1);
        const PickleValue *callable = value, *arguments = NULL;
        for (int wrapped = 0; wrapped < 2 && value && value->kind == PICKLE_CALL; wrapped++) {
            callable = pickle_item(&r->pickle, value, 0);
            arguments = pickle_item(&r->pickle, value, 1);
            if (callable->integer != PICKLE_REBUILD_PARAMETER) break;
            value = pickle_item(&r->pickle, arguments, 0); /* _rebuild_parameter(tensor, ...) */
        }
        if (arguments == NULL) continue; /* numbers and the like */
        if (callable->integer != PICKLE_REBUILD_TENSOR && callable->integer != PICKLE_REBUILD_TENSOR_V2)
            return bad(r, "tensor: expected a call of _rebuild_tensor_v2");
        if (!printable(name)) return bad(r, "tensor: found a name that is not printable ASCII text");
        if (add_tensor(r, name, arguments)) {
            /* Say which tensor: the inner functions do not know. */
            char what[BLEMISH_ERROR_SIZE];
            snprintf(what, sizeof what, "%s", r->e->text);
            const size_t path = strlen(r->file->path);
            if (r->e->status != BLEMISH_ERROR_FORMAT || strlen(what) <= path + 2) return r->e->status;
            return error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: %.*s: %s", r->file->path,
                             (int)(name->length < 100 ? name->length : 100), name->text, what + path + 2);
        }
    }
    return BLEMISH_OK;
}

static BlemishStatus finish(Reader *r, BlemishStatus status) {
    if (status == BLEMISH_OK) status = add_tensors(r);
    free(r->storages);
    pickle_close(&r->pickle);
    if (r->zip) zip_discard(r->zip);
    return status;
}

/* ---- zip ------------------------------------------------------------------------------------------------ */

/* An entry's bytes, its checksum verified. Only stored entries: that is what torch.save writes, and no entry can
 * then be larger than the file. */
static BlemishStatus load_entry(Reader *r, const char *name, size_t *length, const uint8_t **out) {
    const char *path = r->file->path;
    zip_stat_t info;
    const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (zip_stat(r->zip, name, ZIP_FL_ENC_RAW, &info) < 0 || (info.valid & needed) != needed)
        return error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: found no entry %s", path, name);
    if (info.comp_method != ZIP_CM_STORE || info.encryption_method != ZIP_EM_NONE || info.size != info.comp_size)
        return error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: %s: found a compressed entry, expected a stored one", path,
                         name);
    if (info.size > r->file->storage->length - r->loaded)
        return error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: %s: found %llu bytes, expected what the file can hold", path,
                         name, (unsigned long long)info.size);
    *length = (size_t)info.size;
    uint8_t *bytes = tensor_file_block(r->file, *length + 1, r->e); /* + 1: the checksum is compared at the end */
    if (bytes == NULL) return r->e->status;
    r->loaded += *length;
    zip_file_t *entry = zip_fopen_index(r->zip, info.index, 0);
    if (entry == NULL) return error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: %s: %s", path, name, zip_strerror(r->zip));
    size_t done = 0;
    zip_int64_t n = 0;
    while (done <= *length && (n = zip_fread(entry, bytes + done, *length + 1 - done)) > 0) done += (size_t)n;
    BlemishStatus status = BLEMISH_OK;
    if (n < 0)
        status = error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: %s: %s", path, name, zip_file_strerror(entry));
    else if (done != *length)
        status =
            error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: %s: found %zu bytes, expected %zu", path, name, done, *length);
    zip_fclose(entry);
    *out = bytes;
    return status;
}

/* The archive's one folder is named as the file was when it was saved. */
static BlemishStatus find_prefix(Reader *r) {
    const zip_int64_t entries = zip_get_num_entries(r->zip, 0);
    for (zip_int64_t i = 0; i < entries; i++) {
        const char *name = zip_get_name(r->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        const char *slash = name ? strchr(name, '/') : NULL;
        if (slash && strcmp(slash, "/data.pkl") == 0 && (size_t)(slash - name) + 2 <= sizeof r->prefix) {
            snprintf(r->prefix, sizeof r->prefix, "%.*s", (int)(slash - name) + 1, name);
            return BLEMISH_OK;
        }
    }
    return bad(r, "found a zip archive without data.pkl, expected PyTorch's");
}

static BlemishStatus read_archive(Reader *r) {
    char name[sizeof r->prefix + 16];
    const uint8_t *bytes;
    size_t length;
    if (find_prefix(r)) return r->e->status;
    snprintf(name, sizeof name, "%sbyteorder", r->prefix);
    if (zip_name_locate(r->zip, name, ZIP_FL_ENC_RAW) >= 0) {
        if (load_entry(r, name, &length, &bytes)) return r->e->status;
        if (length != 6 || memcmp(bytes, "little", 6) != 0) return bad(r, "byteorder: expected 'little'");
    }
    snprintf(name, sizeof name, "%sdata.pkl", r->prefix);
    if (load_entry(r, name, &length, &bytes) || pickle_read(&r->pickle, r->file->path, bytes, length, r->e))
        return r->e->status;
    return list_storages(r);
}

BlemishStatus pth_read_zip(TensorFile *file, Error *e) {
    Reader r = {.file = file, .e = e};
    int number;
    r.zip = zip_open(file->path, ZIP_RDONLY, &number);
    if (r.zip == NULL) {
        zip_error_t error;
        zip_error_init_with_code(&error, number);
        error_set(e, BLEMISH_ERROR_FORMAT, "%s: zip: %s", file->path, zip_error_strerror(&error));
        zip_error_fini(&error);
        return e->status;
    }
    return finish(&r, read_archive(&r));
}

/* ---- legacy --------------------------------------------------------------------------------------------- */

/* One of the pickles in front, whose value is of no use beyond `check`. */
static BlemishStatus skip_pickle(Reader *r, size_t *at, bool (*check)(const Pickle *), const char *expected) {
    Pickle p;
    BlemishStatus status =
        pickle_read(&p, r->file->path, r->file->storage->bytes + *at, r->file->storage->length - *at, r->e);
    if (status == BLEMISH_OK && !check(&p)) status = bad(r, expected);
    *at += p.used;
    pickle_close(&p);
    return status;
}

static bool is_magic(const Pickle *p) {
    static const char magic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"; /* 0x1950a86a20f9469cfc6c */
    return pickle_text_is(&p->values[p->root], magic);
}

static bool is_protocol(const Pickle *p) {
    const PickleValue *v = &p->values[p->root];
    return v->kind == PICKLE_INT && v->integer == 1001;
}

static bool is_little_endian(const Pickle *p) {
    const PickleValue *v = &p->values[p->root];
    for (size_t i = 0; v->kind == PICKLE_DICT && i < v->count; i += 2) {
        const PickleValue *value = pickle_item(p, v, i + 1);
        if (pickle_text_is(pickle_item(p, v, i), "little_endian")) return value->kind == PICKLE_BOOL && value->integer;
    }
    return false;
}

/* Finds each storage of the list `keys` behind it: a 64-bit count and the elements. */
static BlemishStatus place_storages(Reader *r, const Pickle *keys, size_t at) {
    const PickleValue *list = &keys->values[keys->root];
    const uint8_t *bytes = r->file->storage->bytes;
    const size_t length = r->file->storage->length;
    if (list->kind != PICKLE_LIST) return bad(r, "storage keys: expected a list");
    for (size_t i = 0; i < list->count; i++) {
        const PickleValue *key = pickle_item(keys, list, i);
        Storage *s = key->kind == PICKLE_TEXT ? find_storage(r, key) : NULL;
        if (s == NULL || s->data) return bad(r, "storage keys: found an unknown or repeated key");
        uint64_t count = 0;
        for (size_t k = 0; k < 8 && length - at >= 8; k++) count |= (uint64_t)bytes[at + k] << 8 * k;
        const size_t size = s->count * tensor_type_size(s->type);
        if (length - at < 8 || size > length - at - 8)
            return error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: storage: found the end of the file, expected %zu bytes",
                             r->file->path, size);
        if (count != s->count)
            return error_set(r->e, BLEMISH_ERROR_FORMAT, "%s: storage: found %llu elements, expected %zu",
                             r->file->path, (unsigned long long)count, s->count);
        s->data = bytes + at + 8;
        at += 8 + size;
    }
    return at == length ? BLEMISH_OK : bad(r, "found bytes behind the last storage");
}

static BlemishStatus read_legacy(Reader *r) {
    const uint8_t *bytes = r->file->storage->bytes;
    const size_t length = r->file->storage->length;
    size_t at = 0;
    if (skip_pickle(r, &at, is_magic, "found an unknown pickle, expected PyTorch's magic number") ||
        skip_pickle(r, &at, is_protocol, "protocol: expected 1001") ||
        skip_pickle(r, &at, is_little_endian, "little_endian: expected True") ||
        pickle_read(&r->pickle, r->file->path, bytes + at, length - at, r->e) || list_storages(r))
        return r->e->status;
    at += r->pickle.used;
    Pickle keys;
    BlemishStatus status = pickle_read(&keys, r->file->path, bytes + at, length - at, r->e);
    if (status == BLEMISH_OK) status = place_storages(r, &keys, at + keys.used);
    pickle_close(&keys);
    return status;
}

BlemishStatus pth_read_legacy(TensorFile *file, Error *e) {
    Reader r = {.file = file, .e = e};
    return finish(&r, read_legacy(&r));
}
