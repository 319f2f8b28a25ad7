#include "store/reader.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* https://github.com/huggingface/safetensors, "Format": a 64-bit little-endian header length, the header (a JSON
 * object), the tensors' bytes without holes. */
enum { ALIGNMENT = 64, PREFIX = 8, HEADER_MAX = 4 << 20 /* real ones are kilobytes; JSON costs 40 times its text */ };

static const char *const type_names[] = {
    [TENSOR_F32] = "F32", [TENSOR_F16] = "F16", [TENSOR_BF16] = "BF16", [TENSOR_F64] = "F64",
    [TENSOR_I64] = "I64", [TENSOR_I32] = "I32", [TENSOR_I8] = "I8",     [TENSOR_U8] = "U8"};
enum { TYPES = sizeof type_names / sizeof *type_names };

/* The index-th element as a size. */
static bool size_at(const json_t *array, size_t index, size_t *out) {
    const json_t *number = json_array_get(array, index);
    if (!json_is_integer(number) || json_integer_value(number) < 0) return false;
    *out = (size_t)json_integer_value(number);
    return true;
}

static BlemishStatus read_tensor(TensorFile *file, const char *name, const json_t *entry, const uint8_t *data,
                                 size_t length, Error *e) {
    const json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    Tensor tensor = {.rank = json_array_size(shape)};
    size_t begin, end, bytes, index = 0;
    if (type == NULL || !json_is_array(shape) || json_array_size(offsets) != 2 || !size_at(offsets, 0, &begin) ||
        !size_at(offsets, 1, &end))
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %.200s: expected an object of dtype, shape and data_offsets",
                         file->path, name);
    while (index < TYPES && strcmp(type_names[index], type) != 0) index++;
    if (index == TYPES)
        return error_set(e, BLEMISH_ERROR_FORMAT,
                         "%s: %.200s: dtype: found '%.20s', expected F32, F16, BF16, F64, I64, I32, I8 or U8",
                         file->path, name, type);
    tensor.type = (TensorType)index;
    if (tensor.rank > TENSOR_RANK_MAX)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %.200s: shape: found %zu dimensions, expected at most %d",
                         file->path, name, tensor.rank, TENSOR_RANK_MAX);
    for (size_t i = 0; i < tensor.rank; i++)
        if (!size_at(shape, i, &tensor.shape[i]))
            return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %.200s: shape: expected sizes of 0 or more", file->path,
                             name);
    if (begin > end || end > length)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %.200s: data_offsets: found %zu to %zu, expected 0 to %zu",
                         file->path, name, begin, end, length);
    if (!tensor_extent(tensor.type, tensor.rank, tensor.shape, &tensor.count, &bytes) || bytes != end - begin)
        return error_set(e, BLEMISH_ERROR_FORMAT,
                         "%s: %.200s: data_offsets: found %zu bytes, expected what shape needs", file->path, name,
                         end - begin);
    tensor.data = data + begin;
    return tensor_file_add(file, tensor, name, strlen(name), e);
}

static BlemishStatus read_metadata(TensorFile *file, json_t *metadata, Error *e) {
    const char *key;
    json_t *value;
    bool strings = json_is_object(metadata);
    json_object_foreach(metadata, key, value) strings &= json_is_string(value);
    if (!strings)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: __metadata__: expected an object of strings", file->path);
    file->metadata = json_dumps(metadata, JSON_COMPACT);
    return file->metadata ? BLEMISH_OK : error_set(e, BLEMISH_ERROR_MEMORY, "%s: out of memory", file->path);
}

static int by_data(const void *a, const void *b) {
    const Tensor *x = a, *y = b;
    if (x->data != y->data) return (const uint8_t *)x->data < (const uint8_t *)y->data ? -1 : 1;
    return (x->count > y->count) - (x->count < y->count); /* empty tensors come before what starts at their place */
}

/* The format allows neither overlaps nor holes. */
static BlemishStatus check_coverage(TensorFile *file, const uint8_t *data, size_t length, Error *e) {
    const uint8_t *at = data;
    if (file->count) qsort(file->tensors, file->count, sizeof *file->tensors, by_data);
    for (size_t i = 0; i < file->count; i++) {
        const Tensor *t = &file->tensors[i];
        if ((const uint8_t *)t->data != at)
            return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %.200s: data_offsets: found byte %zu, expected %zu",
                             file->path, t->name, (size_t)((const uint8_t *)t->data - data), (size_t)(at - data));
        at += t->count * tensor_type_size(t->type);
    }
    if (at != data + length)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: found %zu bytes of tensors, expected %zu", file->path, length,
                         (size_t)(at - data));
    return BLEMISH_OK;
}

BlemishStatus safetensors_read(TensorFile *file, Error *e) {
    const uint8_t *bytes = file->storage->bytes;
    uint64_t header = 0;
    for (size_t i = 0; i < PREFIX; i++) header |= (uint64_t)bytes[i] << 8 * i;
    if (header > file->storage->length - PREFIX || header > HEADER_MAX)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: header length: found %llu bytes, expected at most %zu",
                         file->path, (unsigned long long)header,
                         file->storage->length - PREFIX < HEADER_MAX ? file->storage->length - PREFIX : HEADER_MAX);
    json_error_t error;
    json_t *root = json_loadb((const char *)bytes + PREFIX, header, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root)) {
        json_decref(root);
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: header: found %.200s, expected a JSON object", file->path,
                         root ? "another value" : error.text);
    }
    const uint8_t *data = bytes + PREFIX + header;
    const size_t length = file->storage->length - PREFIX - header;
    BlemishStatus status = BLEMISH_OK;
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry) {
        if (strcmp(name, "__metadata__") == 0)
            status = read_metadata(file, entry, e);
        else
            status = read_tensor(file, name, entry, data, length, e);
        if (status != BLEMISH_OK) break;
    }
    json_decref(root);
    return status ? status : check_coverage(file, data, length, e);
}

char *tensor_file_metadata(const TensorFile *file, const char *key, Error *e) {
    if (file->metadata == NULL) return NULL;
    json_t *metadata = json_loads(file->metadata, 0, NULL);
    if (metadata == NULL) {
        error_set(e, BLEMISH_ERROR_MEMORY, "%s: __metadata__: out of memory", file->path);
        return NULL;
    }
    const char *value = json_string_value(json_object_get(metadata, key));
    char *copy = value ? text_copy(value, e) : NULL;
    json_decref(metadata);
    return copy;
}

/* The header, padded with spaces so that the data after it starts aligned. */
static void write_header(Text *t, const Tensor *tensors, size_t count, const MetadataEntry *metadata,
                         size_t metadata_count) {
    size_t at = 0;
    text_append(t, "{", 1);
    if (metadata_count) text_format(t, "\"__metadata__\":{");
    for (size_t i = 0; i < metadata_count; i++) {
        if (i) text_append(t, ",", 1);
        text_json_string(t, metadata[i].key);
        text_append(t, ":", 1);
        text_json_string(t, metadata[i].value);
    }
    if (metadata_count) text_format(t, "}%s", count ? "," : "");
    for (size_t i = 0; i < count; i++) {
        const size_t bytes = tensors[i].count * tensor_type_size(tensors[i].type);
        if (i) text_append(t, ",", 1);
        text_json_string(t, tensors[i].name);
        text_format(t, ":{\"dtype\":\"%s\",\"shape\":[", type_names[tensors[i].type]);
        for (size_t k = 0; k < tensors[i].rank; k++) text_format(t, "%s%zu", k ? "," : "", tensors[i].shape[k]);
        text_format(t, "],\"data_offsets\":[%zu,%zu]}", at, at + bytes);
        at += bytes;
    }
    text_append(t, "}", 1);
    while (!t->failed && (PREFIX + t->length) % ALIGNMENT) text_append(t, " ", 1);
}

BlemishStatus safetensors_write(const char *path, const Tensor *tensors, size_t count, const MetadataEntry *metadata,
                                size_t metadata_count, Error *e) {
    for (size_t i = 0; i < count; i++) {
        size_t elements, bytes;
        if (tensors[i].rank > TENSOR_RANK_MAX ||
            !tensor_extent(tensors[i].type, tensors[i].rank, tensors[i].shape, &elements, &bytes) ||
            elements != tensors[i].count)
            return error_set(e, BLEMISH_ERROR_INTERNAL, "%s: %s: found %zu elements, expected what shape says", path,
                             tensors[i].name, tensors[i].count);
        for (size_t k = 0; k < i; k++)
            if (strcmp(tensors[i].name, tensors[k].name) == 0)
                return error_set(e, BLEMISH_ERROR_INTERNAL, "%s: %s: found twice, expected once", path,
                                 tensors[i].name);
    }
    Text header = {0};
    write_header(&header, tensors, count, metadata, metadata_count);
    if (header.failed || header.length > HEADER_MAX) {
        error_set(e, header.failed ? BLEMISH_ERROR_MEMORY : BLEMISH_ERROR_ARGUMENT,
                  "%s: header: found %zu bytes, expected at most %d", path, header.length, HEADER_MAX);
        text_free(&header);
        return e->status;
    }
    uint8_t prefix[PREFIX];
    for (size_t i = 0; i < PREFIX; i++) prefix[i] = (uint8_t)((uint64_t)header.length >> 8 * i);
    AtomicFile f;
    BlemishStatus status = atomic_open(&f, path, e);
    if (status == BLEMISH_OK) {
        status = atomic_write(&f, prefix, sizeof prefix, e);
        if (status == BLEMISH_OK) status = atomic_write(&f, header.data, header.length, e);
        for (size_t i = 0; i < count && status == BLEMISH_OK; i++)
            status = atomic_write(&f, tensors[i].data, tensors[i].count * tensor_type_size(tensors[i].type), e);
        if (status == BLEMISH_OK)
            status = atomic_commit(&f, e);
        else
            atomic_abandon(&f);
    }
    text_free(&header);
    return status;
}
