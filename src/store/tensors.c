#include "store/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct Block {
    Block *next;
    _Alignas(64) uint8_t bytes[];
};

void *array_grow(void *array, size_t *capacity, size_t need, size_t size, Error *e) {
    if (need <= *capacity) return array;
    size_t larger = *capacity < 8 ? 8 : *capacity, bytes;
    while (larger < need)
        if (!size_mul(larger, 2, &larger)) larger = need;
    void *moved = size_mul(larger, size, &bytes) ? realloc(array, bytes) : NULL;
    if (moved == NULL) {
        error_set(e, BLEMISH_ERROR_MEMORY, "out of memory (asked for %zu x %zu bytes)", larger, size);
        return NULL;
    }
    *capacity = larger;
    return moved;
}

size_t tensor_type_size(TensorType type) {
    switch (type) {
    case TENSOR_F64:
    case TENSOR_I64:
        return 8;
    case TENSOR_F32:
    case TENSOR_I32:
        return 4;
    case TENSOR_F16:
    case TENSOR_BF16:
        return 2;
    case TENSOR_I8:
    case TENSOR_U8:
        return 1;
    }
    return 0;
}

bool tensor_extent(TensorType type, size_t rank, const size_t *shape, size_t *count, size_t *bytes) {
    *count = 1;
    for (size_t i = 0; i < rank; i++)
        if (!size_mul(*count, shape[i], count)) return false;
    return size_mul(*count, tensor_type_size(type), bytes);
}

BlemishStatus tensor_file_add(TensorFile *file, Tensor tensor, const char *name, size_t name_length, Error *e) {
    size_t bytes;
    if (!tensor_extent(tensor.type, tensor.rank, tensor.shape, &tensor.count, &bytes))
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %.*s: found a shape larger than memory", file->path,
                         (int)(name_length < 200 ? name_length : 200), name);
    Tensor *tensors = array_grow(file->tensors, &file->capacity, file->count + 1, sizeof *tensors, e);
    if (tensors == NULL) return e->status;
    file->tensors = tensors;
    tensor.name = strndup(name, name_length);
    if (tensor.name == NULL) return error_set(e, BLEMISH_ERROR_MEMORY, "out of memory (a tensor's name)");
    tensors[file->count++] = tensor;
    return BLEMISH_OK;
}

void *tensor_file_block(TensorFile *file, size_t bytes, Error *e) {
    size_t total;
    Block *block = size_add(bytes, sizeof *block + 63, &total) ? aligned_alloc(64, total & ~(size_t)63) : NULL;
    if (block == NULL) {
        error_set(e, BLEMISH_ERROR_MEMORY, "%s: out of memory (asked for %zu bytes)", file->path, bytes);
        return NULL;
    }
    block->next = file->storage->blocks;
    file->storage->blocks = block;
    return block->bytes;
}

enum { LEAST = 16 }; /* bytes; a shorter file holds no tensor in any format */

static BlemishStatus map_file(TensorFile *file, Error *e) {
    /* O_NONBLOCK: opening a pipe must fail below, not wait for a writer. */
    const int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return error_errno(e, "%s: cannot open", file->path);
    struct stat info;
    BlemishStatus status = BLEMISH_OK;
    if (fstat(fd, &info) < 0) {
        status = error_errno(e, "%s: cannot read", file->path);
    } else if (!S_ISREG(info.st_mode)) {
        status = error_set(e, BLEMISH_ERROR_IO, "%s: found no regular file, expected a file of tensors", file->path);
    } else if (info.st_size < LEAST) {
        status = error_set(e, BLEMISH_ERROR_FORMAT, "%s: found %lld bytes, expected a file of tensors", file->path,
                           (long long)info.st_size);
    } else {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            status = error_errno(e, "%s: cannot map", file->path);
        } else {
            *file->storage = (struct TensorStorage){
                .bytes = bytes, .length = (size_t)info.st_size, .fd = fd, .modified = info.st_mtim};
        }
    }
    if (status != BLEMISH_OK) close(fd);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const Tensor *)a)->name, ((const Tensor *)b)->name);
}

static BlemishStatus sort_names(TensorFile *file, Error *e) {
    if (file->count == 0) return error_set(e, BLEMISH_ERROR_FORMAT, "%s: found no tensors", file->path);
    qsort(file->tensors, file->count, sizeof *file->tensors, by_name);
    for (size_t i = 1; i < file->count; i++)
        if (strcmp(file->tensors[i - 1].name, file->tensors[i].name) == 0)
            return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %.200s: found twice, expected once", file->path,
                             file->tensors[i].name);
    return BLEMISH_OK;
}

static BlemishStatus open_storage(TensorFile *out, const char *path, Error *e) {
    *out = (TensorFile){.path = text_copy(path, e)};
    if (out->path == NULL) return e->status;
    out->storage = calloc(1, sizeof *out->storage);
    return out->storage ? BLEMISH_OK : error_set(e, BLEMISH_ERROR_MEMORY, "out of memory");
}

static BlemishStatus read_content(TensorFile *file, Error *e) {
    const uint8_t *b = file->storage->bytes;
    if (memcmp(b, "PK\3\4", 4) == 0) return pth_read_zip(file, e);
    if (b[8] == '{') return safetensors_read(file, e);
    if (b[0] == 0x80 && b[1] >= 2 && b[1] <= 5) return pth_read_legacy(file, e);
    return error_set(e, BLEMISH_ERROR_FORMAT, "%s: found an unknown format, expected .safetensors or .pth", file->path);
}

static BlemishStatus open_content(TensorFile *out, BlemishStatus status, Error *e) {
    if (status == BLEMISH_OK) status = read_content(out, e);
    if (status == BLEMISH_OK) status = sort_names(out, e);
    if (status != BLEMISH_OK) tensor_file_close(out);
    return status;
}

BlemishStatus tensor_file_open(TensorFile *out, const char *path, Error *e) {
    BlemishStatus status = open_storage(out, path, e);
    if (status == BLEMISH_OK) status = map_file(out, e);
    return open_content(out, status, e);
}

BlemishStatus tensor_file_open_bytes(TensorFile *out, const char *name, const void *bytes, size_t length, Error *e) {
    BlemishStatus status = open_storage(out, name, e);
    if (status == BLEMISH_OK) *out->storage = (struct TensorStorage){.bytes = bytes, .length = length, .fd = -1};
    if (status == BLEMISH_OK && length < LEAST)
        status = error_set(e, BLEMISH_ERROR_FORMAT, "%s: found %zu bytes, expected a file of tensors", name, length);
    return open_content(out, status, e);
}

void tensor_file_close(TensorFile *file) {
    for (size_t i = 0; i < file->count; i++) free((char *)file->tensors[i].name);
    free(file->tensors);
    free(file->metadata);
    free(file->path);
    if (file->storage) {
        while (file->storage->blocks) {
            Block *next = file->storage->blocks->next;
            free(file->storage->blocks);
            file->storage->blocks = next;
        }
        if (file->storage->bytes && file->storage->fd >= 0) {
            munmap((void *)file->storage->bytes, file->storage->length);
            close(file->storage->fd);
        }
        free(file->storage);
    }
    *file = (TensorFile){0};
}

const Tensor *tensor_file_find(const TensorFile *file, const char *name) {
    const Tensor key = {.name = name};
    return file->count ? bsearch(&key, file->tensors, file->count, sizeof key, by_name) : NULL;
}

static void format_shape(char *text, size_t size, size_t rank, const size_t *shape) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (size_t i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%zu", i ? ", " : "", shape[i]);
    if (used < size) snprintf(text + used, size - used, "]");
}

BlemishStatus tensor_file_get(const TensorFile *file, const char *name, size_t rank, const size_t *shape,
                              const Tensor **out, Error *e) {
    char found[200], expected[200];
    format_shape(expected, sizeof expected, rank, shape);
    *out = tensor_file_find(file, name);
    if (*out == NULL)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: found no such tensor, expected shape %s", file->path, name,
                         expected);
    if ((*out)->rank == rank && (rank == 0 || memcmp((*out)->shape, shape, rank * sizeof *shape) == 0))
        return BLEMISH_OK;
    format_shape(found, sizeof found, (*out)->rank, (*out)->shape);
    *out = NULL;
    return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: found shape %s, expected %s", file->path, name, found, expected);
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits; binary32: 1, 8 (bias 127), 23. */
static float half_to_float(uint16_t h) {
    const uint32_t exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 0) return (h & 0x8000 ? -0x1p-24f : 0x1p-24f) * (float)fraction;
    const uint32_t bits = (uint32_t)(h & 0x8000) << 16 | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define CONVERT(type, expression)                                                                                      \
    for (size_t i = 0; i < tensor->count; i++) {                                                                       \
        type v;                                                                                                        \
        memcpy(&v, from + i * sizeof v, sizeof v);                                                                     \
        out[i] = (expression);                                                                                         \
    }                                                                                                                  \
    break

void tensor_to_f32(const Tensor *tensor, float *out) {
    const uint8_t *from = tensor->data;
    switch (tensor->type) {
    case TENSOR_F32:
        if (tensor->count) memcpy(out, from, tensor->count * sizeof *out);
        break;
    case TENSOR_F16:
        CONVERT(uint16_t, half_to_float(v));
    case TENSOR_BF16:
        for (size_t i = 0; i < tensor->count; i++) {
            memset(out + i, 0, 2);
            memcpy((uint8_t *)(out + i) + 2, from + 2 * i, 2); /* the upper half of a float */
        }
        break;
    case TENSOR_F64:
        CONVERT(double, (float)v);
    case TENSOR_I64:
        CONVERT(int64_t, (float)v);
    case TENSOR_I32:
        CONVERT(int32_t, (float)v);
    case TENSOR_I8:
        CONVERT(int8_t, (float)v);
    case TENSOR_U8:
        CONVERT(uint8_t, (float)v);
    }
}

/* `length` bytes of the file from `offset`. */
static BlemishStatus read_bytes(const TensorFile *file, void *out, size_t length, size_t offset, Error *e) {
    while (length > 0) {
        const ssize_t n = pread(file->storage->fd, out, length, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_errno(e, "%s: cannot read", file->path);
        if (n == 0) return error_set(e, BLEMISH_ERROR_IO, "%s: found its end at byte %zu", file->path, offset);
        out = (uint8_t *)out + n;
        offset += (size_t)n;
        length -= (size_t)n;
    }
    return BLEMISH_OK;
}

BlemishStatus tensor_file_floats(const TensorFile *file, const Tensor *tensor, float *out, Error *e) {
    const struct TensorStorage *storage = file->storage;
    const uint8_t *data = tensor->data;
    if (storage == NULL || storage->fd < 0 || data < storage->bytes || data >= storage->bytes + storage->length) {
        /* in memory that is not the mapping */
        tensor_to_f32(tensor, out);
        return BLEMISH_OK;
    }
    uint8_t bytes[1 << 14];
    const size_t size = tensor_type_size(tensor->type);
    Tensor piece = {.type = tensor->type, .data = bytes};
    for (size_t at = 0; at < tensor->count; at += piece.count) {
        piece.count = tensor->count - at < sizeof bytes / size ? tensor->count - at : sizeof bytes / size;
        if (read_bytes(file, bytes, piece.count * size, (size_t)(data - storage->bytes) + at * size, e))
            return e->status;
        tensor_to_f32(&piece, out + at);
    }
    struct stat now;
    if (fstat(storage->fd, &now) < 0) return error_errno(e, "%s: cannot read", file->path);
    if ((size_t)now.st_size != storage->length || now.st_mtim.tv_sec != storage->modified.tv_sec ||
        now.st_mtim.tv_nsec != storage->modified.tv_nsec)
        return error_set(e, BLEMISH_ERROR_IO, "%s: found it changed since it was opened", file->path);
    return BLEMISH_OK;
}
