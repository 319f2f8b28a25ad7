/* Loading a trunk's weights: from a checkpoint, folded from a model file, and what is refused. */
#include "net/net.h"
#include "helper_numbers.h"

#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void load_filled(Trunk *trunk, const char *backbone) {
    Error e = {0};
    if (trunk_load(trunk, backbone, NULL, &e)) fail_msg("%s", e.text);
}

enum { TENSORS = 2 * TRUNK_CONVS_MAX * 5 };

/* A file in memory; tensors are kept in order of their names, as the readers give them. */
typedef struct Memory {
    TensorFile file;
    Tensor tensors[TENSORS];
    char names[TENSORS][96];
} Memory;

static void memory_add(Memory *m, const char *name, size_t rank, const size_t *shape, const float *values) {
    Tensor *t = &m->tensors[m->file.count];
    char *own = m->names[m->file.count++];
    snprintf(own, sizeof m->names[0], "%s", name);
    *t = (Tensor){.name = own, .type = TENSOR_F32, .rank = rank, .count = 1};
    for (size_t i = 0; i < rank; i++) t->count *= t->shape[i] = shape[i];
    t->data = copy_floats(values, t->count);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const Tensor *)a)->name, ((const Tensor *)b)->name);
}

static void memory_sort(Memory *m) {
    static char path[] = "memory";
    m->file.path = path;
    m->file.tensors = m->tensors;
    qsort(m->tensors, m->file.count, sizeof *m->tensors, by_name);
}

static void memory_free(Memory *m) {
    for (size_t i = 0; i < m->file.count; i++) free((void *)(uintptr_t)m->tensors[i].data);
    free(m);
}

static Memory *memory_new(void) {
    Memory *m = calloc(1, sizeof *m);
    assert_non_null(m);
    return m;
}

static size_t tensor_floats(const TrunkTensor *t) {
    size_t count = 1;
    for (size_t i = 0; i < t->rank; i++) count *= t->shape[i];
    return count;
}

/* resnet18's trunk as torchvision would save it. */
static Memory *checkpoint(void) {
    Memory *m = memory_new();
    TrunkTensor tensors[TENSORS];
    const size_t count = trunk_tensors("resnet18", tensors, TENSORS);
    assert_in_range(count, 1, TENSORS);
    for (size_t i = 0; i < count; i++) {
        float *values = zero_floats(tensor_floats(&tensors[i]));
        fill_tensor(tensors[i].name, tensors[i].rank, tensors[i].shape, values);
        memory_add(m, tensors[i].name, tensors[i].rank, tensors[i].shape, values);
        free(values);
    }
    memory_sort(m);
    return m;
}

static void assert_same_trunk(const Trunk *a, const Trunk *b) {
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->c2, b->c2);
    assert_int_equal(a->c3, b->c3);
    for (size_t i = 0; i < a->count; i++) {
        const TrunkConv *x = &a->convs[i], *y = &b->convs[i];
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->stride, y->stride);
        assert_memory_equal(x->weight, y->weight, x->out * x->in * x->kernel * x->kernel * sizeof(float));
        assert_memory_equal(x->bias, y->bias, x->out * sizeof(float));
    }
}

static void a_checkpoint_loads_like_fill_values(void **state) {
    (void)state;
    Memory *m = checkpoint();
    Trunk filled_trunk, loaded;
    Error e = {0};
    load_filled(&filled_trunk, "resnet18");
    assert_int_equal(trunk_load(&loaded, "resnet18", &m->file, &e), BLEMISH_OK);
    assert_same_trunk(&filled_trunk, &loaded);
    trunk_close(&filled_trunk);
    trunk_close(&loaded);
    memory_free(m);
}

static void folded_weights_come_back(void **state) {
    (void)state;
    Trunk trunk, loaded;
    Error e = {0};
    Memory *m = memory_new();
    load_filled(&trunk, "resnet50");
    for (size_t i = 0; i < trunk.count; i++) {
        const TrunkConv *c = &trunk.convs[i];
        char name[96];
        snprintf(name, sizeof name, "backbone.%s.weight", c->name);
        memory_add(m, name, 4, (const size_t[]){c->out, c->in, c->kernel, c->kernel}, c->weight);
        snprintf(name, sizeof name, "backbone.%s.bias", c->name);
        memory_add(m, name, 1, &c->out, c->bias);
    }
    memory_sort(m);
    assert_int_equal(trunk_load_folded(&loaded, "resnet50", &m->file, &e), BLEMISH_OK);
    assert_int_equal(trunk_fetch(&loaded, &e), BLEMISH_OK);
    assert_same_trunk(&trunk, &loaded);
    trunk_close(&loaded);
    /* Not this network's: refused, nothing left to close. */
    assert_int_equal(trunk_load_folded(&loaded, "resnet18", &m->file, &e), BLEMISH_ERROR_FORMAT);
    assert_int_equal(loaded.count, 0);
    trunk_close(&trunk);
    memory_free(m);
}

/* Loads the checkpoint after one tensor's value, rank or name was spoiled, and expects the message to say so. */
static void expect_refusal(const char *tensor, float value, bool rename, const char *expected) {
    Memory *m = checkpoint();
    Trunk trunk;
    Error e = {0};
    Tensor *t = (Tensor *)(uintptr_t)tensor_file_find(&m->file, tensor);
    assert_non_null(t);
    ((float *)(uintptr_t)t->data)[t->count - 1] = value;
    if (rename) ((char *)(uintptr_t)t->name)[strlen(tensor) - 1] = '_';
    assert_int_equal(trunk_load(&trunk, "resnet18", &m->file, &e), BLEMISH_ERROR_FORMAT);
    if (strstr(e.text, tensor) == NULL || strstr(e.text, expected) == NULL) fail_msg("%s", e.text);
    assert_int_equal(trunk.count, 0);
    memory_free(m);
}

static void bad_weights_are_refused_by_name(void **state) {
    (void)state;
    expect_refusal("conv1.weight", NAN, false, "not finite");
    expect_refusal("layer3.1.conv2.weight", INFINITY, false, "not finite");
    expect_refusal("layer2.0.downsample.1.bias", -INFINITY, false, "not finite");
    expect_refusal("layer1.0.bn1.running_var", -0.5f, false, "no negative value");
    expect_refusal("layer2.1.bn2.running_mean", 0, true, "");
}

/* The checkpoint in random 16-bit numbers, subnormal ones and zeros among them, and in *same the floats they stand for.
 */
static Memory *checkpoint_of_halves(TensorType type, Memory **same) {
    Memory *m = checkpoint(), *plain = *same = checkpoint();
    Random r = random_new(type, 0);
    for (size_t i = 0; i < m->file.count; i++) {
        Tensor *t = &m->tensors[i];
        const bool variance = strstr(t->name, "running_var") != NULL;
        uint16_t *halves = (uint16_t *)(uintptr_t)t->data; /* the floats' memory is large enough */
        float *floats = (float *)(uintptr_t)plain->tensors[i].data;
        t->type = type;
        for (size_t k = 0; k < t->count; k++) {
            const uint32_t bits = random_u32(&r), fraction = bits >> 8, sign = variance ? 0 : bits & 1;
            if (type == TENSOR_F16) {
                const int exponent = (int)(bits >> 1 & 15); /* below 2, so that nothing overflows */
                halves[k] = (uint16_t)(sign << 15 | (uint32_t)exponent << 10 | (fraction & 1023));
                floats[k] = ldexpf((float)(fraction & 1023) + (exponent ? 1024 : 0), (exponent ? exponent : 1) - 25);
            } else {
                const int exponent = (int)(bits >> 1 & 63) + 64; /* 2^-63 to 1 */
                halves[k] = (uint16_t)(sign << 15 | (uint32_t)exponent << 7 | (fraction & 127));
                floats[k] = ldexpf(128 + (float)(fraction & 127), exponent - 134);
            }
            if (sign) floats[k] = -floats[k];
        }
    }
    return m;
}

static void halves_load_as_the_floats_they_stand_for(void **state) {
    (void)state;
    static const struct {
        TensorType type;
        uint16_t bits[3]; /* infinity, -infinity, a NaN */
    } types[] = {{TENSOR_F16, {0x7c00, 0xfc00, 0x7e01}}, {TENSOR_BF16, {0x7f80, 0xff80, 0x7fc1}}};
    for (size_t i = 0; i < 2; i++) {
        Memory *same, *m = checkpoint_of_halves(types[i].type, &same);
        Trunk trunk, expected;
        Error e = {0};
        if (trunk_load(&trunk, "resnet18", &m->file, &e)) fail_msg("%s", e.text);
        if (trunk_load(&expected, "resnet18", &same->file, &e)) fail_msg("%s", e.text);
        assert_same_trunk(&trunk, &expected);
        trunk_close(&trunk);
        trunk_close(&expected);
        const Tensor *t = tensor_file_find(&m->file, "layer2.0.conv1.weight");
        for (size_t k = 0; k < 3; k++) {
            ((uint16_t *)(uintptr_t)t->data)[t->count - 1] = types[i].bits[k];
            assert_int_equal(trunk_load(&trunk, "resnet18", &m->file, &e), BLEMISH_ERROR_FORMAT);
            assert_non_null(strstr(e.text, "layer2.0.conv1.weight: found a value that is not finite at 73727"));
        }
        memory_free(m);
        memory_free(same);
    }
}

static void an_unknown_backbone_is_named_with_the_known_ones(void **state) {
    (void)state;
    Trunk trunk;
    Error e = {0};
    assert_int_equal(trunk_load(&trunk, "resnet19", NULL, &e), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(e.text, "'resnet19'"));
    for (size_t i = 0; trunk_name(i); i++) assert_non_null(strstr(e.text, trunk_name(i)));
    assert_int_equal(trunk.count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_loads_like_fill_values),
        cmocka_unit_test(folded_weights_come_back),
        cmocka_unit_test(bad_weights_are_refused_by_name),
        cmocka_unit_test(halves_load_as_the_floats_they_stand_for),
        cmocka_unit_test(an_unknown_backbone_is_named_with_the_known_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
