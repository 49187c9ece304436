// Files that a command writes where its user says, and what is said when they cannot be written.

import { existsSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { AppError } from '../../schemas/errors.ts'
import { makeFolder } from '../make-folder.ts'

const HINTS: Readonly<Record<string, string>> = {
  EEXIST: 'a file is where a folder must be',
  ENOTDIR: 'a file is where a folder must be',
  EISDIR: 'it is a folder',
  EACCES: 'you may not write there',
  EPERM: 'you may not write there',
  EROFS: 'that file system is read-only',
  ENOSPC: 'the disk is full, free some space',
  EDQUOT: 'your share of the disk is full, free some space'
}

/** What to throw for a file or folder that cannot be written. @param option what its user has given, as in `give another --out` */
export function cannotWrite(option: string, path: string, cause: NodeJS.ErrnoException): AppError {
  const { code = '' } = cause
  const parent = dirname(cause.path ?? path)
  const nothing = existsSync(parent) ? `nothing can be made in ${parent}` : `there is no folder ${parent}, make it`
  const hint = code === 'ENOENT' ? nothing : (HINTS[code] ?? cause.message)
  return new AppError('usage', `${path} cannot be written (${code || 'no code'}): ${hint}, or give another ${option}`, { cause })
}

/** Makes a folder for what a command writes. @throws AppError `usage` */
export function outputFolder(option: string, folder: string): void {
  try {
    makeFolder(folder)
  } catch (cause) {
    throw cannotWrite(option, folder, cause as NodeJS.ErrnoException)
  }
}

/** Writes a whole file; its folder must be there. @throws AppError `usage` */
export function writeOutput(option: string, file: string, text: string): void {
  try {
    writeFileSync(file, text)
  } catch (cause) {
    throw cannotWrite(option, file, cause as NodeJS.ErrnoException)
  }
}
