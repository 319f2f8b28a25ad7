/* What the readers of tensor files share; nothing outside store/ includes it. */
#ifndef BLEMISH_READER_H
#define BLEMISH_READER_H

#include "store/store.h"

#include <time.h>

typedef struct Block Block; /* memory of tensors whose bytes are not in the file as a Tensor needs them */
struct TensorStorage {
    const uint8_t *bytes; /* the whole file, mapped; or another's bytes */
    size_t length;
    int fd; /* open while bytes is not NULL; -1: another's bytes */
    struct timespec modified;
    Block *blocks;
};

BlemishStatus safetensors_read(TensorFile *file, Error *e);
BlemishStatus pth_read_zip(TensorFile *file, Error *e);
BlemishStatus pth_read_legacy(TensorFile *file, Error *e);

/* Elements and bytes of a tensor; false when either overflows. */
bool tensor_extent(TensorType type, size_t rank, const size_t *shape, size_t *count, size_t *bytes);
/* Adds `tensor` with a copy of the name's first name_length bytes and with its count computed. */
BlemishStatus tensor_file_add(TensorFile *file, Tensor tensor, const char *name, size_t name_length, Error *e);
/* Memory that lives as long as the file. */
void *tensor_file_block(TensorFile *file, size_t bytes, Error *e);

/* The array with room for `need` elements, moved if it must grow; NULL with *e set (array still valid) if it cannot. */
void *array_grow(void *array, size_t *capacity, size_t need, size_t size, Error *e);

#endif
