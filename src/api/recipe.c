#include "api/api.h"

#include <string.h>

BLEMISH_API BlemishStatus blemish_recipe_new(BlemishRecipe **out) {
    if (out == NULL) return BLEMISH_ERROR_ARGUMENT;
    BlemishRecipe *r = *out = handle_new(sizeof *r);
    if (r == NULL) return BLEMISH_ERROR_MEMORY;
    recipe_defaults(&r->recipe);
    return BLEMISH_OK;
}

BLEMISH_API BlemishStatus blemish_recipe_set(BlemishRecipe *r, const char *key, const char *value) {
    if (r == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&r->error);
    if (key == NULL || value == NULL) return error_null(e, key ? "value" : "key");
    return recipe_set(&r->recipe, key, value, e);
}

BLEMISH_API BlemishStatus blemish_recipe_load(BlemishRecipe *r, const char *path) {
    if (r == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&r->error);
    return path ? recipe_load(&r->recipe, path, e) : error_null(e, "path");
}

BLEMISH_API BlemishStatus blemish_recipe_from_model(BlemishRecipe *r, const BlemishModel *model) {
    if (r == NULL) return BLEMISH_ERROR_ARGUMENT;
    Error *e = error_begin(&r->error);
    const char *text = model && model->open ? model->model.recipe_json : NULL;
    if (text == NULL)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "model: recipe: found none, expected a trained model");
    if (recipe_parse(&r->recipe, "model: recipe", text, strlen(text), e)) return e->status;
    if (r->recipe.feature_scale != 1) r->recipe.feature_scale = -1; /* 1: published weights, nothing was measured */
    r->recipe.bf16 = -1;
    return BLEMISH_OK;
}

BLEMISH_API int blemish_recipe_key(const BlemishRecipe *r, size_t index, const char **key, char value[64],
                                   const char **help) {
    return r && key && value && help && recipe_key(&r->recipe, index, key, value, help);
}

BLEMISH_API const char *blemish_recipe_error(const BlemishRecipe *r) {
    return r ? r->error.text : "out of memory";
}

BLEMISH_API void blemish_recipe_close(BlemishRecipe *r) {
    array_free(r);
}
