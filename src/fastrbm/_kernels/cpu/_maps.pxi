# ---- memory that is mapped from files -----------------------------------------------------------------------

cdef class WatchedRange:
    """Memory of which pages that a file no longer has are read as zeros, while this is there; see maps.h."""

    cdef frbm_map *map

    def __cinit__(self, uintptr_t first, uintptr_t last):
        cdef int possible = 1
        if last > first:
            self.map = frbm_map_watch(first, last, &possible)
            if self.map == NULL and possible:
                raise MemoryError

    @property
    def lost(self):
        """Whether a page was."""
        return self.map != NULL and bool(frbm_map_lost(self.map))

    def release(self):
        """Watch it no longer."""
        if self.map != NULL:
            frbm_map_release(self.map)
            self.map = NULL

    def __dealloc__(self):
        if self.map != NULL:
            frbm_map_release(self.map)
