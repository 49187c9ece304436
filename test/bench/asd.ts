// bench asd --data DIR --out DIR: the multivariate detector on the Application Server Dataset (19 metrics, a row every five minutes).
//
// See events/multivariate-bench.ts for what is read, written and printed. `bench asd leave-one-out [OTHER_DIR]` shows how the choices
// hold on series that were left out of them.

import { multivariateBench } from './events/multivariate-bench.ts'
import type { BenchOptions, BenchResult } from './harness.ts'

export async function asdBench(options: BenchOptions): Promise<BenchResult> {
  return multivariateBench('asd', options)
}
