// A progress bar on stderr, only where a person watches: one line that is written over.

export interface Progress {
  /** @param share of the work, 0..1 */
  show(share: number, text: string): void
  clear(): void
}

const BAR_WIDTH = 24
const EVERY_MS = 100

/** @param nowMs monotonic */
export function openProgress(stream: Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'write'>, nowMs: () => number): Progress {
  if (stream.isTTY !== true) return { show() {}, clear() {} }
  let shownMs = Number.NEGATIVE_INFINITY
  return {
    show(share, text) {
      if (nowMs() - shownMs < EVERY_MS) return
      shownMs = nowMs()
      const done = Math.round(Math.max(0, Math.min(1, share)) * BAR_WIDTH)
      const line = `${'█'.repeat(done)}${'░'.repeat(BAR_WIDTH - done)} ${String(Math.floor(share * 100)).padStart(3)} %  ${text}`
      stream.write(`\r\u001b[2K${line.slice(0, (stream.columns ?? 80) - 1)}`)
    },
    clear: () => void stream.write('\r\u001b[2K')
  }
}
