// Asynchronous work one after another: what must not interleave though its callers do.

/** @returns a function that runs each work when those before it have ended, however they ended */
export function turns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return work => {
    const result = last.then(work, work)
    last = result.catch(() => undefined)
    return result
  }
}
