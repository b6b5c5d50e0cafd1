// A stand-in for libcuda.so.1, which LibTorch maps beside the runtime: a driver with one context that is there.
extern "C" {

int cuInit(unsigned) {
  return 0;
}
int cuDriverGetVersion(int* version) {
  *version = 13000;
  return 0;
}
int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return 0;
}
int cuCtxGetCurrent(void** context) {
  static int one = 0;
  *context = &one;
  return 0;
}
int cuCtxSetCurrent(void*) {
  return 0;
}
int cuGetErrorString(int, const char** text) {
  *text = "an error of the stand-in driver";
  return 0;
}
int cuPointerGetAttribute(void*, int, unsigned long long) {
  return 1;
}
int cuDeviceGet(int* device, int) {
  *device = 0;
  return 0;
}
int cuDeviceGetCount(int* devices) {
  *devices = 1;
  return 0;
}
}
