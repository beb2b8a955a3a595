/* Memory that is mapped from a file, which may become shorter while it is read: reading beyond its end is a SIGBUS, by
 * which the process would end.  Of a range that is watched such a page, and those after it, are replaced by zeros, and
 * the range is marked: what was made of it is to be thrown away.
 */
#ifndef FASTRBM_MAPS_H
#define FASTRBM_MAPS_H

#include <stdint.h>

typedef struct frbm_map frbm_map;

/* Watch [first, last) from now on; to be called by one thread at a time, as frbm_map_release.  NULL: no memory, or no
 * such signal on this platform (*possible is 0 then) */
frbm_map *frbm_map_watch(uintptr_t first, uintptr_t last, int *possible);
/* Whether a page of the range was lost */
int frbm_map_lost(const frbm_map *map);
void frbm_map_release(frbm_map *map);

#endif
