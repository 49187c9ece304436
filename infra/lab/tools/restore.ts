// Puts back the last good configuration or cache of a service: what the exec driver runs.
//
// usage: node infra/lab/tools/restore.ts config|cache SERVICE FOLDER. Convergent: a second run changes nothing more.

import { copyFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { SERVICES } from '../layout.ts'
import { witness } from '../witness.ts'

const [what, service, folder] = process.argv.slice(2)
const known = SERVICES.find(name => name === service)
if ((what !== 'config' && what !== 'cache') || !known || !folder) {
  process.stderr.write('usage: node infra/lab/tools/restore.ts config|cache SERVICE FOLDER\n')
  process.exit(2)
}
witness(folder, known, `restore-${what}`)
const file = join(folder, known, `${what}.json`)
copyFileSync(join(folder, known, `${what}.good.json`), `${file}.tmp`)
renameSync(`${file}.tmp`, file)
process.stdout.write(`${known}: ${what} restored\n`)
