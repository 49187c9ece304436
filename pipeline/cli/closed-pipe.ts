// Whoever reads what a command prints may leave early (`homeostat incidents | head -1`).

/**
 * What a reader no longer wants is thrown away: the command ends as it would have, for what it began (a replay, topics on a cluster, a
 * release) matters more than what it says of it. Other errors of the streams are errors still.
 */
export function outliveReaders(...streams: readonly NodeJS.WritableStream[]): void {
  for (const stream of streams) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  }
}
