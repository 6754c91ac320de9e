// Preloaded into a Firefox under test. Firefox has libx264 encode for WebRTC
// with the settings for files, which look 40 frames ahead; it then gives up on
// frames that come out so late, and sends nothing. Here, libavcodec's request
// for libx264's settings for files gets those for live pictures.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <string.h>

static int is_x264(struct dl_phdr_info *library, size_t size, void *name) {
	if (!strstr(library->dlpi_name, "libx264.so")) return 0;
	*(const char **)name = library->dlpi_name;
	return 1;
}

int x264_param_default_preset(void *param, const char *preset, const char *tune) {
	const char *name = 0;
	if (!dl_iterate_phdr(is_x264, &name)) return -1;
	int (*original)(void *, const char *, const char *) =
		dlsym(dlopen(name, RTLD_LAZY | RTLD_NOLOAD), "x264_param_default_preset");
	return original(param, "ultrafast", "zerolatency");
}
