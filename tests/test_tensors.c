#include "helper_pth.h"
#include "store/reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

static char folder[64], path[128];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/blemish-tensors-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    DIR *d = opendir(folder);
    char name[512];
    for (struct dirent *entry; d && (entry = readdir(d));) {
        snprintf(name, sizeof name, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.') unlink(name);
    }
    if (d) closedir(d);
    return rmdir(folder);
}

/* Opens the file; on success every byte of every tensor is read and must lie inside the file where it is mapped (the
 * sanitizer does not see the rest of a mapping's last page). */
static BlemishStatus open_checked(TensorFile *f, Error *e) {
    *e = (Error){0};
    const BlemishStatus status = tensor_file_open(f, path, e);
    if (status != BLEMISH_OK) {
        assert_int_equal(e->status, status);
        assert_int_equal(strncmp(e->text, path, strlen(path)), 0);
        assert_null(strchr(e->text, '\n'));
        assert_null(f->tensors);
        assert_null(f->path);
        return status;
    }
    const uint8_t *bytes = f->storage->bytes;
    for (size_t i = 0; i < f->count; i++) {
        const Tensor *t = &f->tensors[i];
        const uint8_t *data = t->data;
        if (data >= bytes && data < bytes + f->storage->length)
            assert_true(t->count * tensor_type_size(t->type) <= (size_t)(bytes + f->storage->length - data));
        float *values = malloc(t->count ? t->count * sizeof *values : 1);
        assert_non_null(values);
        tensor_to_f32(t, values);
        free(values);
        assert_ptr_equal(tensor_file_find(f, t->name), t);
    }
    return BLEMISH_OK;
}

static void assert_file_refused(const char *message) {
    TensorFile f;
    Error e;
    const BlemishStatus status = open_checked(&f, &e);
    if (status != BLEMISH_ERROR_FORMAT || strstr(e.text, message) == NULL)
        fail_msg("found %d '%s', expected '%s'", status, e.text, message);
}

static void assert_values(const TensorFile *f, const char *name, size_t rank, const size_t *shape,
                          const double *expected) {
    const Tensor *t;
    Error e = {0};
    if (tensor_file_get(f, name, rank, shape, &t, &e)) fail_msg("%s", e.text);
    float values[64];
    assert_true(t->count <= 64);
    tensor_to_f32(t, values);
    for (size_t i = 0; i < t->count; i++)
        if (values[i] != (float)expected[i]) fail_msg("%s[%zu]: %g, not %g", name, i, (double)values[i], expected[i]);
}
#define SHAPE(...) (sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t)), ((const size_t[]){__VA_ARGS__})
#define VALUES(...) ((const double[]){__VA_ARGS__})

/* ---- conversions ---------------------------------------------------------------------------------------- */

static void halves_convert_exactly(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        const uint16_t raw[2] = {0, (uint16_t)bits};
        const Tensor half = {.type = TENSOR_F16, .data = raw + 1, .count = 1};
        const Tensor brain = {.type = TENSOR_BF16, .data = raw + 1, .count = 1};
        float value;
        tensor_to_f32(&half, &value);
        const int exponent = (int)(bits >> 10 & 31);
        const double fraction = (bits & 1023) / 1024.0, sign = bits >> 15 ? -1 : 1;
        if (exponent == 31 && fraction > 0)
            assert_true(isnan(value));
        else if (exponent == 31)
            assert_true((double)value == sign * (double)INFINITY);
        else
            assert_true((double)value == sign * (exponent ? ldexp(1 + fraction, exponent - 15) : ldexp(fraction, -14)));
        if (exponent < 31) assert_int_equal(signbit(value) != 0, bits >> 15);
        tensor_to_f32(&brain, &value);
        uint32_t found;
        memcpy(&found, &value, 4);
        assert_int_equal(found, bits << 16);
    }
}

static void other_types_convert_as_c_does(void **state) {
    (void)state;
    Random r = random_new(2, 0);
    uint8_t raw[8 * 16 + 1];
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof raw; i++) raw[i] = (uint8_t)random_u32(&r);
        float found[16];
        for (TensorType type = TENSOR_F32; type <= TENSOR_U8; type++) {
            const Tensor t = {.type = type, .data = raw + 1, .count = 16}; /* not aligned */
            tensor_to_f32(&t, found);
            for (size_t i = 0; i < 16; i++) {
                union {
                    float f;
                    double d;
                    int64_t q;
                    int32_t w;
                    int8_t b;
                    uint8_t u;
                } v;
                memcpy(&v, raw + 1 + i * tensor_type_size(type), tensor_type_size(type));
                const float expected = type == TENSOR_F32   ? v.f
                                       : type == TENSOR_F64 ? (float)v.d
                                       : type == TENSOR_I64 ? (float)v.q
                                       : type == TENSOR_I32 ? (float)v.w
                                       : type == TENSOR_I8  ? (float)v.b
                                       : type == TENSOR_U8  ? (float)v.u
                                                            : found[i];
                assert_true(found[i] == expected || (isnan(found[i]) && isnan(expected)));
            }
        }
    }
}

/* ---- safetensors ---------------------------------------------------------------------------------------- */

static size_t safetensors_bytes(uint8_t *out, const char *header, size_t data) {
    const size_t length = strlen(header);
    for (size_t i = 0; i < 8; i++) out[i] = (uint8_t)((uint64_t)length >> 8 * i);
    memcpy(out + 8, header, length);
    for (size_t i = 0; i < data; i++) out[8 + length + i] = (uint8_t)i;
    return 8 + length + data;
}

static void safetensors_round_trip(void **state) {
    (void)state;
    float f[6] = {0, -1, 2.5f, 3, 4, 5};
    int64_t q = -5;
    uint8_t u[3] = {1, 2, 255};
    uint16_t h[2] = {0x3c00, 0xc000};
    const Tensor tensors[] = {
        {"z\"quoted\"\xc3\xa9", TENSOR_U8, 1, {3}, u, 3},
        {"a", TENSOR_F32, 2, {2, 3}, f, 6},
        {"scalar", TENSOR_I64, 0, {0}, &q, 1},
        {"empty", TENSOR_F64, 2, {0, 7}, f, 0},
        {"half", TENSOR_F16, 1, {2}, h, 2},
    };
    const MetadataEntry metadata[] = {{"format", "pt"}, {"json", "{\"x\":[1,\"\xc3\xa9\\n\"]}\n"}};
    Error e = {0};
    for (size_t entries = 0; entries <= 2; entries++) {
        assert_int_equal(safetensors_write(path, tensors, 5, metadata, entries, &e), BLEMISH_OK);
        TensorFile file;
        if (open_checked(&file, &e)) fail_msg("%s", e.text);
        assert_int_equal(file.count, 5);
        assert_values(&file, "a", SHAPE(2, 3), VALUES(0, -1, 2.5, 3, 4, 5));
        assert_values(&file, "z\"quoted\"\xc3\xa9", SHAPE(3), VALUES(1, 2, 255));
        assert_values(&file, "scalar", 0, NULL, VALUES(-5));
        assert_values(&file, "empty", SHAPE(0, 7), VALUES(0));
        assert_values(&file, "half", SHAPE(2), VALUES(1, -2));
        const Tensor *first = tensor_file_find(&file, tensors[0].name);
        assert_int_equal(((const uint8_t *)first->data - file.storage->bytes) % 64, 0);
        for (size_t i = 0; i < 2; i++) {
            char *value = tensor_file_metadata(&file, metadata[i].key, &e);
            if (i < entries)
                assert_string_equal(value, metadata[i].value);
            else
                assert_null(value);
            free(value);
        }
        assert_null(tensor_file_metadata(&file, "none", &e));
        assert_int_equal(e.status, BLEMISH_OK);
        const Tensor *t;
        assert_int_equal(tensor_file_get(&file, "a", SHAPE(3, 2), &t, &e), BLEMISH_ERROR_FORMAT);
        assert_null(t);
        assert_non_null(strstr(e.text, "/file: a: found shape [2, 3], expected [3, 2]"));
        assert_int_equal(tensor_file_get(&file, "b", SHAPE(3), &t, &e), BLEMISH_ERROR_FORMAT);
        assert_non_null(strstr(e.text, "/file: b: found no such tensor, expected shape [3]"));
        e = (Error){0};
        tensor_file_close(&file);
    }
}

static void safetensors_writer_refuses_nonsense(void **state) {
    (void)state;
    float f[6] = {0};
    Error e = {0};
    const Tensor wrong_count = {"a", TENSOR_F32, 2, {2, 3}, f, 5};
    char absent[160];
    snprintf(absent, sizeof absent, "%s/none", folder);
    assert_int_equal(safetensors_write(absent, &wrong_count, 1, NULL, 0, &e), BLEMISH_ERROR_INTERNAL);
    const Tensor twice[] = {
        {"a", TENSOR_F32, 1, {1}, f, 1}, {"b", TENSOR_F32, 1, {1}, f, 1}, {"a", TENSOR_U8, 0, {0}, f, 1}};
    assert_int_equal(safetensors_write(absent, twice, 3, NULL, 0, &e), BLEMISH_ERROR_INTERNAL);
    assert_int_equal(access(absent, F_OK), -1);
    snprintf(absent, sizeof absent, "%s/none/none", folder);
    assert_int_equal(safetensors_write(absent, twice, 2, NULL, 0, &e), BLEMISH_ERROR_IO);
}

static void safetensors_headers_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *message; /* NULL: a good file */
    } cases[] = {
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[0,4]}}", 4, NULL},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}   ", 4, NULL},
        {"{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]},"
         "\"a\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]}}",
         4, NULL},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 5, "found 5 bytes of tensors, expected 4"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 3,
         "a: data_offsets: found 0 to 4, expected 0 to 3"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,4]}}", 4, "a: data_offsets: found 4 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "a: data_offsets: found 4 bytes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,0]}}", 4, "a: data_offsets: found 4 to 0"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[-4,0]}}", 4, "a: expected an object"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,8]}}", 4, "a: expected an object"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4.0]}}", 4, "a: expected an object"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, "a: expected an object"},
        {"{\"a\":{\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "a: expected an object"},
        {"{\"a\":[]}", 4, "a: expected an object"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-4],\"data_offsets\":[0,4]}}", 4, "a: shape: expected sizes"},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "a: dtype: found 'F8_E4M3'"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,4],\"data_offsets\":[0,4]}}", 4, "found 9 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]}}", 4, "a: data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "a: data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
         4, "b: data_offsets: found byte 2, expected 3"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
         4, "b: data_offsets: found byte 2, expected 1"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
         4, "header: found duplicate object key"},
        {"{\"__metadata__\":{\"x\":1},\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
         "__metadata__"},
        {"{\"__metadata__\":[],\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "__metadata__"},
        {"{}", 8, "found 8 bytes of tensors, expected 0"},
        {"{\"__metadata__\":{}}", 0, "found no tensors"},
        {"{\"a\":", 16, "header: found "},
        {"{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "header: found "},
        {"{} x                 ", 0, "header: found "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[512];
        write_bytes(path, bytes, safetensors_bytes(bytes, cases[i].header, cases[i].data));
        if (cases[i].message) {
            assert_file_refused(cases[i].message);
            continue;
        }
        TensorFile f;
        Error e;
        if (open_checked(&f, &e)) fail_msg("%s", e.text);
        tensor_file_close(&f);
    }
    uint8_t bytes[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{'};
    write_bytes(path, bytes, sizeof bytes);
    assert_file_refused("header length: found 18446744073709551615 bytes, expected at most 56");
}

static void other_files_are_refused(void **state) {
    (void)state;
    TensorFile f;
    Error e = {0};
    write_bytes(path, "", 0);
    assert_file_refused("found 0 bytes, expected a file of tensors");
    write_bytes(path, "hello, this is a text file", 26);
    assert_file_refused("found an unknown format, expected .safetensors or .pth");
    assert_int_equal(tensor_file_open(&f, folder, &e), BLEMISH_ERROR_IO);
    assert_int_equal(tensor_file_open(&f, "/nonexistent/x", &e), BLEMISH_ERROR_IO);
    char pipe_path[160];
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe", folder);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_int_equal(tensor_file_open(&f, pipe_path, &e), BLEMISH_ERROR_IO); /* and does not wait */
}

/* ---- PyTorch -------------------------------------------------------------------------------------------- */

static const float plain[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
static const int64_t counter = 77;
static const PthStorage storages[] = {{"0", 12, plain, sizeof plain}, {"1", 1, &counter, sizeof counter}};
static const PthTensor good[] = {
    {"module.w", "FloatStorage", "0", 12, 0, 2, {3, 4}, {4, 1}},
    {"t", "FloatStorage", "0", 12, 1, 2, {3, 2}, {1, 4}},
    {"ones", "FloatStorage", "0", 12, 2, 4, {1, 2, 1, 3}, {99, 3, 77, 1}},
    {"count", "LongStorage", "1", 1, 0, 0, {0}, {0}},
    {"empty", "LongStorage", "1", 1, 0, 2, {0, 3}, {3, 1}},
};

static void write_legacy(const PthTensor *tensors, size_t count, const PthStorage *from, size_t from_count) {
    Text pickle = {0}, file = {0};
    pth_state_dict(&pickle, tensors, count);
    pth_legacy(&file, &pickle, from, from_count);
    write_bytes(path, file.data, file.length);
    text_free(&pickle);
    text_free(&file);
}

static void write_zip(const PthTensor *tensors, size_t count, const PthStorage *from, size_t from_count, int method) {
    Text pickle = {0};
    pth_state_dict(&pickle, tensors, count);
    pth_zip(path, &pickle, from, from_count, method);
    text_free(&pickle);
}

static void assert_good(const TensorFile *f) {
    assert_int_equal(f->count, 5);
    assert_values(f, "w", SHAPE(3, 4), VALUES(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
    assert_values(f, "t", SHAPE(3, 2), VALUES(1, 5, 2, 6, 3, 7));
    assert_values(f, "ones", SHAPE(1, 2, 1, 3), VALUES(2, 3, 4, 5, 6, 7));
    assert_values(f, "count", 0, NULL, VALUES(77));
    assert_values(f, "empty", SHAPE(0, 3), VALUES(0));
}

static void both_pytorch_formats_load(void **state) {
    (void)state;
    for (int zip = 0; zip < 2; zip++) {
        if (zip)
            write_zip(good, 5, storages, 2, ZIP_CM_STORE);
        else
            write_legacy(good, 5, storages, 2);
        TensorFile f;
        Error e;
        if (open_checked(&f, &e)) fail_msg("%s", e.text);
        assert_good(&f);
        tensor_file_close(&f);
    }
}

/* Any strides inside the storage, against the definition: element (i, j, ...) is at offset + i s0 + j s1 + ... */
static void random_strides_are_materialised(void **state) {
    (void)state;
    Random r = random_new(8, 0);
    for (int round = 0; round < 500; round++) {
        PthTensor x = {"x", "FloatStorage", "0", 12, 0, 0, {0}, {0}};
        x.rank = random_below(&r, 5);
        x.offset = random_below(&r, 6);
        int64_t count = 1, last = x.offset;
        for (size_t i = 0; i < x.rank; i++) {
            x.sizes[i] = 1 + random_below(&r, 3);
            x.strides[i] = random_below(&r, 4);
            count *= x.sizes[i];
            last += (x.sizes[i] - 1) * x.strides[i];
        }
        write_legacy(&x, 1, storages, 1);
        if (last >= 12) {
            assert_file_refused("x: tensor: found a shape that reaches beyond its storage");
            continue;
        }
        TensorFile f;
        Error e;
        if (open_checked(&f, &e)) fail_msg("%s", e.text);
        float values[81];
        assert_int_equal(f.tensors[0].count, count);
        tensor_to_f32(&f.tensors[0], values);
        for (int64_t n = 0; n < count; n++) {
            int64_t at = x.offset, rest = n;
            for (size_t i = x.rank; i-- > 0; rest /= x.sizes[i]) at += rest % x.sizes[i] * x.strides[i];
            assert_true(values[n] == plain[at]);
        }
        tensor_file_close(&f);
    }
}

static void pytorch_sizes_are_checked(void **state) {
    (void)state;
    static const struct {
        PthTensor tensor;
        const char *message;
    } cases[] = {
        {{"x", "FloatStorage", "0", 12, 0, 1, {13}, {1}}, "x: tensor: found a shape that reaches beyond"},
        {{"x", "FloatStorage", "0", 12, 12, 1, {1}, {1}}, "x: tensor: found a shape that reaches beyond"},
        {{"x", "FloatStorage", "0", 12, INT64_MAX, 1, {2}, {1}}, "x: tensor: found a shape that reaches beyond"},
        {{"x", "FloatStorage", "0", 12, 0, 2, {2, 2}, {INT64_MAX, INT64_MAX}}, "x: tensor: found a shape that reaches"},
        {{"x", "FloatStorage", "0", 12, -1, 1, {1}, {1}}, "x: tensor: expected storage, offset"},
        {{"x", "FloatStorage", "0", 12, 0, 1, {-1}, {1}}, "x: tensor: expected sizes and strides"},
        {{"x", "FloatStorage", "0", 12, 0, 1, {1}, {-1}}, "x: tensor: expected sizes and strides"},
        {{"x", "FloatStorage", "0", 12, 0, 2, {INT64_MAX, INT64_MAX}, {1, 1}},
         "x: tensor: found a shape beyond memory"},
        {{"x", "FloatStorage", "0", 12, 0, 1, {1000000}, {0}}, "x: tensor: refuses strides that make more data"},
        {{"x", "FloatStorage", "0", 12, 0, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {0}}, "found more than 8 dimensions"},
        {{"x", "FloatStorage", "0", -1, 0, 1, {1}, {1}}, "storage: expected a tuple"},
        {{"x", "FloatStorage", "0", INT64_MAX, 0, 1, {1}, {1}}, "storage: found 9223372036854775807 elements"},
        {{"x", "FloatStorage", "0", 11, 0, 1, {1}, {1}}, "expected"},
        {{"x", "DoubleStorage", "0", 12, 0, 1, {1}, {1}}, "expected"},
        {{"x", "FloatStorage", "9", 12, 0, 1, {1}, {1}}, "found"},
        {{"x", "Storage", "0", 12, 0, 1, {1}, {1}}, "refuses global 'torch.Storage'"},
        {{"x\n", "FloatStorage", "0", 12, 0, 1, {1}, {1}}, "found a name that is not printable"},
        {{"\xc3\xa9", "FloatStorage", "0", 12, 0, 1, {1}, {1}}, "found a name that is not printable"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_legacy(&cases[i].tensor, 1, storages, 1);
        assert_file_refused(cases[i].message);
        write_zip(&cases[i].tensor, 1, storages, 1, ZIP_CM_STORE);
        assert_file_refused(cases[i].message);
    }
    const PthTensor twice[] = {good[1], good[1]}, disagree[] = {good[0], {"x", "IntStorage", "0", 12, 0, 0, {0}, {0}}};
    const PthTensor prefixed[] = {good[0], {"w", "FloatStorage", "0", 12, 0, 0, {0}, {0}}};
    write_legacy(twice, 2, storages, 1);
    assert_file_refused("t: found twice");
    write_legacy(prefixed, 2, storages, 1);
    assert_file_refused("w: found twice");
    write_legacy(disagree, 2, storages, 1);
    assert_file_refused("found two descriptions of one storage");
    write_legacy(good, 1, storages, 2);
    assert_file_refused("storage keys: found an unknown or repeated key");
    const PthStorage repeated[] = {storages[0], storages[0]};
    write_legacy(good, 1, repeated, 2);
    assert_file_refused("storage keys: found an unknown or repeated key");
}

static void zip_bombs_are_refused(void **state) {
    (void)state;
    float *zeros = calloc(1 << 20, sizeof *zeros);
    assert_non_null(zeros);
    const PthTensor x = {"x", "FloatStorage", "0", 1 << 20, 0, 1, {1 << 20}, {1}};
    const PthStorage big = {"0", 1 << 20, zeros, sizeof(float) << 20};
    write_zip(&x, 1, &big, 1, ZIP_CM_DEFLATE);
    assert_file_refused("archive/data.pkl: found a compressed entry, expected a stored one");
    free(zeros);
    Text empty = {0};
    PICKLE(&empty, "\x80\x02}.");
    pth_zip(path, &empty, NULL, 0, ZIP_CM_STORE);
    assert_file_refused("found no tensors");
    text_free(&empty);
    PICKLE(&empty, "\x80\x02K\1.");
    pth_zip(path, &empty, NULL, 0, ZIP_CM_STORE);
    assert_file_refused("found no dict, expected a state_dict");
    text_free(&empty);
}

/* ---- damage --------------------------------------------------------------------------------------------- */

enum { SAFETENSORS, LEGACY, ZIP, FORMATS };

static uint8_t *good_file(int format, size_t *length) {
    Error e = {0};
    if (format == SAFETENSORS) {
        const Tensor tensors[] = {{"w", TENSOR_F32, 2, {3, 4}, plain, 12}, {"count", TENSOR_I64, 0, {0}, &counter, 1}};
        const MetadataEntry metadata = {"k", "v"};
        assert_int_equal(safetensors_write(path, tensors, 2, &metadata, 1, &e), BLEMISH_OK);
    } else if (format == LEGACY) {
        write_legacy(good, 5, storages, 2);
    } else {
        write_zip(good, 5, storages, 2, ZIP_CM_STORE);
    }
    return read_bytes(path, length);
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    for (int format = 0; format < FORMATS; format++) {
        size_t length;
        uint8_t *bytes = good_file(format, &length);
        for (size_t n = 0; n < length; n++) {
            write_bytes(path, bytes, n);
            assert_file_refused("");
        }
        free(bytes);
    }
}

static void bit_flips_do_no_harm(void **state) {
    (void)state;
    Random r = random_new(6, 0);
    for (int format = 0; format < FORMATS; format++) {
        size_t length;
        uint8_t *bytes = good_file(format, &length);
        /* Every bit in turn, then several at random. */
        for (size_t i = 0; i < 8 * length + 4000; i++) {
            size_t flips = i < 8 * length ? 1 : 2 + random_below(&r, 6), at[8];
            for (size_t k = 0; k < flips; k++) {
                at[k] = i < 8 * length ? i : random_below(&r, (uint32_t)(8 * length));
                bytes[at[k] / 8] ^= (uint8_t)(1 << at[k] % 8);
            }
            write_bytes(path, bytes, length);
            TensorFile f;
            Error e;
            if (open_checked(&f, &e) == BLEMISH_OK) {
                if (format == ZIP) assert_good(&f); /* its checksums let no changed byte through */
                tensor_file_close(&f);
            } else if (e.status != BLEMISH_ERROR_FORMAT) {
                fail_msg("%s", e.text);
            }
            for (size_t k = 0; k < flips; k++) bytes[at[k] / 8] ^= (uint8_t)(1 << at[k] % 8);
        }
        free(bytes);
    }
}

/* ---- files of other programs ---------------------------------------------------------------------------- */

static void files_of_python_load(void **state) {
    (void)state;
    char command[512];
    snprintf(command, sizeof command, "command -v python3 >/dev/null && python3 %s/write_pth.py %s", TEST_DIR, folder);
    if (system(command) != 0) {
        print_message("python3 is absent: its pickles are not tested\n");
        skip();
    }
    static const char *const containers[] = {"zip", "legacy"}, *const kinds[] = {"plain", "checkpoint", "hostile"};
    for (int i = 0; i < 2 * 3 * 4; i++) {
        snprintf(path, sizeof path, "%s/%s-%d-%s.pth", folder, containers[i % 2], 2 + i / 6, kinds[i / 2 % 3]);
        if (i / 2 % 3 == 2) {
            assert_file_refused(": pickle: refuses global '__main__.Module'");
            continue;
        }
        TensorFile f;
        Error e;
        if (open_checked(&f, &e)) fail_msg("%s", e.text);
        assert_int_equal(f.count, 10);
        assert_values(&f, "plain", SHAPE(3, 4), VALUES(0, .5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5));
        assert_values(&f, "transposed", SHAPE(4, 3), VALUES(0, 2, 4, .5, 2.5, 4.5, 1, 3, 5, 1.5, 3.5, 5.5));
        assert_values(&f, "part", SHAPE(2, 2), VALUES(2.5, 3, 4.5, 5));
        assert_values(&f, "parameter", SHAPE(12), VALUES(0, .5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5));
        assert_values(&f, "half", SHAPE(2), VALUES(1.5, -.25));
        assert_values(&f, "double", SHAPE(2, 1), VALUES(1e-3, 1e3));
        assert_values(&f, "count", 0, NULL, VALUES(1099511627776.0));
        assert_values(&f, "int", SHAPE(1), VALUES(-7));
        assert_values(&f, "char", SHAPE(2), VALUES(-128, 127));
        assert_values(&f, "byte", SHAPE(2), VALUES(0, 255));
        tensor_file_close(&f);
    }
    snprintf(path, sizeof path, "%s/file", folder);
}

static void trunks_are_listed(void **state) {
    (void)state;
    /* Convolutions of conv1 to layer3 (He et al., table 1), each with its BatchNorm of four tensors. */
    assert_int_equal(trunk_tensors("resnet18", NULL, 0), 5 * (1 + 4 + 4 + 4 + 2));
    assert_int_equal(trunk_tensors("resnet34", NULL, 0), 5 * (1 + 6 + 8 + 12 + 2));
    assert_int_equal(trunk_tensors("resnet50", NULL, 0), 5 * (1 + 9 + 12 + 18 + 3));
    assert_int_equal(trunk_tensors("wide_resnet50_2", NULL, 0), 5 * (1 + 9 + 12 + 18 + 3));
    assert_int_equal(trunk_tensors("resnet101", NULL, 0), 0);
    TrunkTensor all[256];
    size_t parameters[5] = {0}, i = 0;
    for (const char *name; (name = trunk_name(i)); i++) {
        const size_t count = trunk_tensors(name, all, 256);
        for (size_t k = 0; k < count; k++) {
            size_t elements = 1;
            for (size_t d = 0; d < all[k].rank; d++) elements *= all[k].shape[d];
            if (strstr(all[k].name, "running") == NULL) parameters[i] += elements;
        }
    }
    assert_int_equal(i, 5);
    assert_int_equal(parameters[4], parameters[3]); /* builtin is a resnet18 */
    /* torchvision's published totals less layer4 and fc, which are summed by hand from its block definitions. */
    const size_t layer4_basic = 512 * 256 * 9 + 512 * 512 * 9 + 512 * 256 + 6 * 512,
                 basic = 2 * 512 * 512 * 9 + 4 * 512;
    const size_t fc18 = 513 * 1000, fc50 = 2049 * 1000;
    assert_int_equal(parameters[3], 11689512 - layer4_basic - basic - fc18);
    assert_int_equal(parameters[2], 21797672 - layer4_basic - 2 * basic - fc18);
    for (size_t w = 0; w < 2; w++) {
        const size_t inner = w ? 512 : 1024; /* wide, plain: the order of trunk_name is wide first */
        const size_t n = w ? 512 : inner, norms = 2 * (2 * n + 2048);
        const size_t first = 1024 * n + 9 * n * n + n * 2048 + norms + 1024 * 2048 + 2 * 2048;
        const size_t other = 2048 * n + 9 * n * n + n * 2048 + norms;
        assert_int_equal(parameters[w], (w ? 25557032 : 68883240) - first - 2 * other - fc50);
    }
}

static void shared_weights_load(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t rank, shape[4];
    } expected[] = {
        {"conv1.weight", 4, {64, 3, 7, 7}},
        {"bn1.weight", 1, {64}},
        {"bn1.running_var", 1, {64}},
        {"bn1.num_batches_tracked", 0, {0}},
        {"layer1.0.conv1.weight", 4, {64, 64, 3, 3}},
        {"layer1.1.conv2.weight", 4, {64, 64, 3, 3}},
        {"layer1.1.bn2.bias", 1, {64}},
        {"layer2.0.conv1.weight", 4, {128, 64, 3, 3}},
        {"layer2.0.downsample.0.weight", 4, {128, 64, 1, 1}},
        {"layer2.0.downsample.1.running_mean", 1, {128}},
        {"layer2.1.conv2.weight", 4, {128, 128, 3, 3}},
        {"layer3.0.conv1.weight", 4, {256, 128, 3, 3}},
        {"layer3.0.downsample.0.weight", 4, {256, 128, 1, 1}},
        {"layer3.1.conv1.weight", 4, {256, 256, 3, 3}},
        {"layer3.1.conv2.weight", 4, {256, 256, 3, 3}},
        {"layer3.1.bn2.running_var", 1, {256}},
    };
    const char *shared = SHARED_DIR "/weights/texture-resnet18-v0.pth";
    if (access(shared, R_OK) != 0) {
        print_message("%s is absent: not tested\n", shared);
        skip();
    }
    TensorFile f;
    Error e = {0};
    const Tensor *t;
    if (tensor_file_open(&f, shared, &e)) fail_msg("%s", e.text);
    assert_int_equal(f.count, 90);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (tensor_file_get(&f, expected[i].name, expected[i].rank, expected[i].shape, &t, &e)) fail_msg("%s", e.text);
    TrunkTensor trunk[256];
    const size_t count = trunk_tensors("resnet18", trunk, 256);
    assert_int_equal(count, 75);
    for (size_t i = 0; i < count; i++) {
        if (tensor_file_get(&f, trunk[i].name, trunk[i].rank, trunk[i].shape, &t, &e)) fail_msg("%s", e.text);
        float *values = malloc(t->count * sizeof *values);
        assert_non_null(values);
        tensor_to_f32(t, values);
        for (size_t k = 0; k < t->count; k++) assert_true(isfinite(values[k]));
        if (strstr(trunk[i].name, "running_var"))
            for (size_t k = 0; k < t->count; k++) assert_true(values[k] > 0);
        free(values);
    }
    assert_string_equal(trunk_recognise(&f), "resnet18");
    assert_int_equal(trunk_tensors("resnet34", trunk, 256), 145);
    tensor_file_close(&f);
}

/* For test_safetensors_python.sh. */
static int write_sample(const char *to) {
    float f[6] = {0, -1, 2.5f, 3, 4, 5};
    int64_t q = -5;
    uint16_t h[2] = {0x3c00, 0xc000};
    const Tensor tensors[] = {
        {"z", TENSOR_F32, 2, {2, 3}, f, 6},
        {"scalar", TENSOR_I64, 0, {0}, &q, 1},
        {"empty", TENSOR_F64, 2, {0, 7}, f, 0},
        {"half", TENSOR_F16, 1, {2}, h, 2},
    };
    const MetadataEntry metadata[] = {{"json", "{\"x\": [1, \"\xc3\xa9\"]}"}, {"line", "a\nb\x7f"}};
    Error e = {0};
    if (safetensors_write(to, tensors, 4, metadata, 2, &e)) fprintf(stderr, "%s\n", e.text);
    return e.status != BLEMISH_OK;
}

static int read_sample(const char *from) {
    TensorFile f;
    Error e = {0};
    if (tensor_file_open(&f, from, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    for (size_t i = 0; i < f.count; i++) {
        float values[64];
        if (f.tensors[i].count > 64) return 1;
        tensor_to_f32(&f.tensors[i], values);
        printf("%s", f.tensors[i].name);
        for (size_t k = 0; k < f.tensors[i].count; k++) printf(" %g", (double)values[k]);
        printf("\n");
    }
    char *note = tensor_file_metadata(&f, "note", &e);
    printf("note=%s\n", note ? note : "");
    free(note);
    tensor_file_close(&f);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "write") == 0) return write_sample(argv[2]);
    if (argc == 3 && strcmp(argv[1], "read") == 0) return read_sample(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_convert_exactly),
        cmocka_unit_test(other_types_convert_as_c_does),
        cmocka_unit_test(safetensors_round_trip),
        cmocka_unit_test(safetensors_writer_refuses_nonsense),
        cmocka_unit_test(safetensors_headers_are_checked),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(both_pytorch_formats_load),
        cmocka_unit_test(random_strides_are_materialised),
        cmocka_unit_test(pytorch_sizes_are_checked),
        cmocka_unit_test(zip_bombs_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(bit_flips_do_no_harm),
        cmocka_unit_test(files_of_python_load),
        cmocka_unit_test(trunks_are_listed),
        cmocka_unit_test(shared_weights_load),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
