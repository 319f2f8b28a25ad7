/* Builds pickles and PyTorch files opcode by opcode. */
#ifndef HELPER_PTH_H
#define HELPER_PTH_H

#include "store/store.h"

/* A string literal's bytes, zeros inside included. */
#define PICKLE(t, literal) text_append(t, literal, sizeof(literal) - 1)

void pickle_text(Text *t, const char *text); /* BINUNICODE */
void pickle_number(Text *t, int64_t number); /* LONG1 */
void pickle_sizes(Text *t, size_t rank, const int64_t *sizes);
void pickle_global(Text *t, const char *module, const char *name);

typedef struct PthTensor {
    const char *name, *storage_type, *key;
    int64_t elements, offset;
    size_t rank;
    int64_t sizes[10], strides[10];
} PthTensor;
typedef struct PthStorage {
    const char *key;
    int64_t elements;
    const void *data;
    size_t length;
} PthStorage;

/* The pickle of an OrderedDict of tensors. */
void pth_state_dict(Text *t, const PthTensor *tensors, size_t count);
/* The pickle in front of legacy storages, and the whole legacy file. */
void pth_legacy(Text *t, const Text *pickle, const PthStorage *storages, size_t count);
/* A zip archive of data.pkl and data/KEY at path; method is libzip's (ZIP_CM_STORE). */
void pth_zip(const char *path, const Text *pickle, const PthStorage *storages, size_t count, int method);

void write_bytes(const char *path, const void *bytes, size_t length);
/* malloc-owned contents of a file. */
uint8_t *read_bytes(const char *path, size_t *length);

#endif
