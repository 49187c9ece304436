// Puts back the last good configuration or cache of a service: what the exec driver runs.
//
// usage: node infra/lab/tools/restore.ts config|cache SERVICE FOLDER
// At most once an idempotency key: the key is claimed by creating a file of its name, and a second run with it does
// nothing. So an order that is repeated because nobody knew whether it had happened has still one effect.

import { closeSync, copyFileSync, mkdirSync, openSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { KEY_VARIABLE } from '../../../actuators/drivers/supervise.ts'
import { SERVICES } from '../layout.ts'
import { witness } from '../witness.ts'

const [what, service, folder] = process.argv.slice(2)
const known = SERVICES.find(name => name === service)
if ((what !== 'config' && what !== 'cache') || !known || !folder) {
  process.stderr.write('usage: node infra/lab/tools/restore.ts config|cache SERVICE FOLDER\n')
  process.exit(2)
}
if (!claimed(process.env[KEY_VARIABLE])) {
  process.stdout.write(`${known}: ${what} was restored by this order already\n`)
  process.exit(0)
}
witness(folder, known, `restore-${what}`)
const file = join(folder, known, `${what}.json`)
copyFileSync(join(folder, known, `${what}.good.json`), `${file}.tmp`)
renameSync(`${file}.tmp`, file)
process.stdout.write(`${known}: ${what} restored\n`)

/** Creates the key's file. @returns false when it was there: this order ran before. A person's run has no key. */
function claimed(key: string | undefined): boolean {
  if (!key) return true
  const keys = join(folder!, 'claimed-keys')
  mkdirSync(keys, { recursive: true })
  try {
    closeSync(openSync(join(keys, key.replaceAll(/[^\w-]/g, '_')), 'wx'))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}
