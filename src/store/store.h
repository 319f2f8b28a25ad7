/* store: files of tensors. */
#ifndef BLEMISH_STORE_H
#define BLEMISH_STORE_H

#include "base/base.h"

/* ---- sha256.c ------------------------------------------------------------------------------------------- */
typedef struct Sha256 {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
} Sha256;
void sha256_start(Sha256 *s);
void sha256_add(Sha256 *s, const void *bytes, size_t length);
void sha256_finish(Sha256 *s, uint8_t digest[32]);
void sha256_hex(const uint8_t digest[32], char hex[65]);
BlemishStatus sha256_file(const char *path, char hex[65], Error *e);

/* ---- tensors.c: the in-memory form that every reader fills ------------------------------------------------ */
#define TENSOR_RANK_MAX 8
typedef enum TensorType {
    TENSOR_F32,
    TENSOR_F16,
    TENSOR_BF16,
    TENSOR_F64,
    TENSOR_I64,
    TENSOR_I32,
    TENSOR_I8,
    TENSOR_U8
} TensorType;
typedef struct Tensor {
    const char *name;
    TensorType type;
    size_t rank, shape[TENSOR_RANK_MAX];
    const void *data; /* row-major, contiguous, little-endian, not necessarily aligned */
    size_t count;     /* elements */
} Tensor;

/* Tensors of one file, in order of their names, plus its metadata; owns names and data. The file may be mapped: data
 * stays in it until close, so a file that another program shortens meanwhile must not be read from. Of bytes in memory
 * data stays there, and belongs to whoever has them. */
typedef struct TensorFile {
    char *path;
    Tensor *tensors;
    size_t count, capacity;
    char *metadata;                /* safetensors' __metadata__ as a JSON object's text; NULL where there is none */
    struct TensorStorage *storage; /* the readers' own: mapped or allocated bytes */
} TensorFile;

/* Reads .safetensors, PyTorch's zip .pth and its legacy (pre-1.6) .pth, recognised by content. Every size and offset
 * is checked against the file; the pickle reader executes nothing and names what it refuses. A checkpoint whose
 * top level holds one of "state_dict", "model", "model_state_dict" is entered; prefixes "module." are dropped. */
BlemishStatus tensor_file_open(TensorFile *out, const char *path, Error *e);
/* The same of bytes, which must stay until close; nothing is copied. `name` stands for the path in messages. */
BlemishStatus tensor_file_open_bytes(TensorFile *out, const char *name, const void *bytes, size_t length, Error *e);
const Tensor *tensor_file_find(const TensorFile *file, const char *name); /* NULL where absent */
/* The named tensor, checked against a shape: FORMAT error "path: name: found shape [..], expected [..]". */
BlemishStatus tensor_file_get(const TensorFile *file, const char *name, size_t rank, const size_t *shape,
                              const Tensor **out, Error *e);
void tensor_file_close(TensorFile *file);

size_t tensor_type_size(TensorType type);
/* Converts any floating or integer tensor to float; out has tensor->count floats. */
void tensor_to_f32(const Tensor *tensor, float *out);
/* The same of the file's tensor, read from the file and not through its mapping, whose pages would count as this
 * process's memory; of bytes in memory from there. A file that was written to since it was opened gives an IO error;
 * one that was replaced or deleted is read as it was. Any number of threads may call it. */
BlemishStatus tensor_file_floats(const TensorFile *file, const Tensor *tensor, float *out, Error *e);

/* ---- safetensors.c -------------------------------------------------------------------------------------- */
/* Writes tensors in the given order (names unique) atomically; metadata is name/value pairs of strings, stored as
 * __metadata__. The data starts at a multiple of 64 bytes and, as the format asks, follows without holes: tensors of a
 * multiple of 64 bytes keep the next one aligned. */
typedef struct MetadataEntry {
    const char *key, *value;
} MetadataEntry;
BlemishStatus safetensors_write(const char *path, const Tensor *tensors, size_t count, const MetadataEntry *metadata,
                                size_t metadata_count, Error *e);
/* One value of TensorFile.metadata as malloc-owned text; NULL where the key is absent (no error) or on error. */
char *tensor_file_metadata(const TensorFile *file, const char *key, Error *e);

/* ---- embedded.c: weights that are compiled in ------------------------------------------------------------- */
typedef struct EmbeddedWeights {
    BlemishWeights known;       /* with the whole checksum, and no url */
    const uint8_t *bytes, *end; /* a .safetensors file */
} EmbeddedWeights;
/* The index-th; NULL past the end. */
const EmbeddedWeights *embedded_weights(size_t index);

/* ---- weights.c: the cache of backbone files behind blemish_weights_* -------------------------------------- */
/* Opens a backbone's weights: of `path`, or where it is NULL those that are compiled in or that weights_find finds.
 * sha256 is the file's. A path for a backbone whose weights are compiled in is an ARGUMENT error: its name stands for
 * those. */
BlemishStatus weights_open(TensorFile *out, const char *backbone, const char *path, char sha256[65], Error *e);
/* Whether the backbone's weights are compiled in. */
bool weights_embedded(const char *backbone);
/* Whether the checksum is that of one of torchvision's published files. */
bool weights_published(const char *sha256);
/* As blemish_weights_known and blemish_weights_folder say; files are written to the first folder. */
int weights_known(size_t index, BlemishWeights *weights);
int weights_folder(size_t index, char *path, size_t size);
BlemishStatus weights_find(const char *backbone, char *path, size_t size, Error *e);
BlemishStatus weights_import(const char *file, const char *backbone, char *path, size_t size, Error *e);
BlemishStatus weights_fetch(const char *name, const char *base_url, BlemishProgressFn progress, void *user, char *path,
                            size_t size, Error *e);

/* ---- fetch.c -------------------------------------------------------------------------------------------- */
/* Downloads one file to `path` by way of path.part, which a later call resumes. protocols is libcurl's list ("https");
 * sha256_prefix is lower-case hexadecimal. A file with another checksum is refused and deleted; after any other
 * failure what arrived stays in path.part. progress may be NULL. */
BlemishStatus fetch_file(const char *url, const char *protocols, const char *sha256_prefix, const char *path,
                         BlemishProgressFn progress, void *user, Error *e);

/* ---- architecture.c: what a torchvision ResNet's trunk holds --------------------------------------------- */
/* conv1 to layer3 of a backbone: every tensor's name and shape, for loading, checking and filling. */
typedef struct TrunkTensor {
    char name[64];
    size_t rank, shape[4];
} TrunkTensor;
/* Number of tensors (0 for an unknown backbone); fills up to `capacity` of them. */
size_t trunk_tensors(const char *backbone, TrunkTensor *out, size_t capacity);
/* The backbone whose trunk the file holds ("resnet18", ...), NULL if none. */
const char *trunk_recognise(const TensorFile *file);
/* The names in a fixed order; NULL past the end. */
const char *trunk_name(size_t index);

#endif
