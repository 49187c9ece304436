// bench smd --data DIR --out DIR: the multivariate detector on the Server Machine Dataset (38 metrics, a row a minute).
//
// See events/multivariate-bench.ts for what is read, written and printed. `bench smd leave-one-out [OTHER_DIR]` shows how the choices
// hold on series that were left out of them.

import { multivariateBench } from './events/multivariate-bench.ts'
import type { BenchOptions, BenchResult } from './harness.ts'

export async function smdBench(options: BenchOptions): Promise<BenchResult> {
  return multivariateBench('smd', options)
}
