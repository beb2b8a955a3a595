/* A team that adds its shares to a sum, a member after another: with PLANTED without the barriers between them, which
 * .ci/tsan must find. */
#include <stdio.h>

#include "team.h"

int main(void) {
    static frbm_team team;
    static int sum, n_members;
#pragma omp parallel num_threads(3)
    {
        frbm_enter(&team);
        const int me = omp_get_thread_num(), n = frbm_members(&team);
        for (int turn = 0; turn < n; turn++) {
            if (turn == me) {
                sum += me + 1;
                n_members = n;
            }
#ifndef PLANTED
            barrier(&team);
#endif
        }
    }
    printf("%d members: %d\n", n_members, sum);
    return 0;
}
