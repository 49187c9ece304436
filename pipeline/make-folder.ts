// Folders that people name.

import { mkdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

/**
 * Makes a folder and those above it that are missing; one that is there is left as it is. Not by `recursive: true`: where a folder
 * exists and nothing can be made in it (ENOENT of /proc), Node 24 tries the two of them in turn for ever.
 * @throws NodeJS.ErrnoException with the path that could not be made
 */
export function makeFolder(path: string, mode?: number): void {
  const missing: string[] = []
  let folder = resolve(path)
  while (statSync(folder, { throwIfNoEntry: false }) === undefined && folder !== dirname(folder)) {
    missing.push(folder)
    folder = dirname(folder)
  }
  for (const next of [...missing, folder].reverse()) {
    if (isFolder(next)) continue
    try {
      mkdirSync(next, { mode })
    } catch (error) {
      if (!isFolder(next)) throw error // Somebody else has made it meanwhile.
    }
  }
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
