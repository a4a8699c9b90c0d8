/* A driver that runs nothing: it answers as `fake_...` say and remembers what it was asked to launch. */
#include <stddef.h>
#include <string.h>

int fake_init, fake_devices = 1, fake_capability = 90, fake_image, fake_launch, fake_optin = 232448;
int fake_loads, fake_depth, fake_dynamic;
long fake_current;
struct { unsigned sizes[7]; void *stream; long context; size_t bytes; unsigned char data[256]; } fake_last;

static long contexts[2] = {0x1000, 0x2000}, stack[16];

int cuInit(unsigned flags) { return flags ? 1 : fake_init; }
int cuDeviceGetCount(int *count) { *count = fake_devices; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    if (attribute == 75) *value = fake_capability / 10;
    else if (attribute == 76) *value = fake_capability % 10;
    else if (attribute == 97) *value = fake_optin;
    else return 1;
    return device < fake_devices ? 0 : 101;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)contexts[device]; return 0; }
int cuCtxGetCurrent(void **context) { *context = (void *)fake_current; return 0; }
int cuCtxPushCurrent_v2(void *context) { stack[fake_depth++] = fake_current; fake_current = (long)context; return 0; }
int cuCtxPopCurrent_v2(void **context) { *context = (void *)fake_current; fake_current = stack[--fake_depth]; return 0; }
int cuModuleLoadData(void **module, const void *image)
{
    if (fake_image) return fake_image;
    if (memcmp(image, "image", 5) || !fake_current) return 200;
    fake_loads++, *module = (void *)(fake_current + 1);
    return 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name)
{
    if (strcmp(name, "scale")) return 500;
    *function = (char *)module + 1;
    return 0;
}
int cuFuncSetAttribute(void *function, int attribute, int value) { fake_dynamic = value; return attribute == 8 ? 0 : 1; }
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra)
{
    unsigned sizes[7] = {gx, gy, gz, bx, by, bz, shared};
    memcpy(fake_last.sizes, sizes, sizeof sizes);
    fake_last.stream = stream, fake_last.context = fake_current;
    if (parameters || extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4] || function != (void *)(fake_current + 2)) return 1;
    fake_last.bytes = *(size_t *)extra[3];
    memcpy(fake_last.data, extra[1], fake_last.bytes);
    return fake_launch;
}
int cuGetErrorName(int code, const char **name) { *name = code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_OTHER"; return 0; }
int cuGetErrorString(int code, const char **text) { *text = code == 700 ? "an illegal memory access" : "something"; return 0; }
