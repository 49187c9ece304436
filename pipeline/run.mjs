// Entry of every npm script, for any Node >= 20: installs what is missing, then hands over to the project's own Node 24.
//
// usage: node pipeline/run.mjs <script.ts | tool> [arguments]
// `npm start` on a fresh clone lands here with nothing installed, so this file imports only what Node itself has.

import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const lock = join(root, 'package-lock.json')
const stamp = join(root, 'node_modules', '.homeostat-installed')
const [target, ...rest] = process.argv.slice(2)

if (needsInstall() && !alone(() => !needsInstall() || install())) process.exit(6)

const node = join(root, 'node_modules', '.bin', 'node')
const program = target.endsWith('.ts') ? [join(root, target)] : [toolPath(target)]
// Request bodies live outside V8's heap. By default every 32 MB of them cause a full collection, 20 a second under load; counted
// with the heap as a whole they cause a sixth of that (measured: a quarter more requests for the same CPU).
const memory = '--external-memory-accounted-in-global-limit'
const flags = [memory, '--disable-warning=ExperimentalWarning', '--disable-warning=TimeoutNegativeWarning']
// Tables of many megabytes are read in no order: with large pages the processor finds them sooner (measured on a million series in no order:
// 0.74 of the time; resident memory the same). Only for what malloc maps, only where the kernel allows it (madvise), and nothing elsewhere.
const env = { GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1', ...process.env }
const child = spawn(node, [...flags, ...program, ...rest], {
  stdio: 'inherit',
  env,
  cwd: target.endsWith('.ts') ? (process.env.INIT_CWD ?? process.cwd()) : root
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('error', error => {
  console.error(`homeostat: cannot start ${node}: ${error.message}`)
  process.exit(1)
})
child.on('exit', (code, signal) => process.exit(signal ? 130 : (code ?? 1)))

/** Installed means: the stamp names the lock file that is here now. A link leads into another checkout, whose modules `npm ci` would delete. */
function needsInstall() {
  if (lstatSync(join(root, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink()) return false
  if (!existsSync(stamp)) return true
  return readFileSync(stamp, 'utf8') !== lockVersion()
}

function lockVersion() {
  const { size, mtimeMs } = statSync(lock)
  return `${size} ${mtimeMs}`
}

/** One at a time in a checkout: two `npm ci` side by side delete each other's files. @returns what `work` returns */
function alone(work) {
  const held = join(tmpdir(), `homeostat-install-${createHash('sha256').update(root).digest('hex').slice(0, 16)}`)
  for (let said = false; !take(held); said = true) {
    if (!said) console.error(`homeostat: another command installs dependencies; waiting (${held} says which process)`)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
  }
  try {
    return work()
  } finally {
    rmSync(held, { force: true })
  }
}

function take(held) {
  try {
    writeFileSync(held, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
    if (!isRunning(held)) rmSync(held, { force: true }) // Ended in the middle of it.
    return false
  }
}

function isRunning(held) {
  try {
    return process.kill(Number(readFileSync(held, 'utf8')), 0)
  } catch (error) {
    return error.code === 'EPERM' || error.code === 'ENOENT' // Another's, or given back just now: not ours to remove.
  }
}

function install() {
  console.error('homeostat: installing dependencies (once; about 1.3 GB on disk) …')
  const begun = Date.now()
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root, stdio: ['ignore', 2, 2] })
  if (status !== 0) {
    console.error('homeostat: npm ci failed. Check the network and the registry settings (npm config get registry), then run the command again.')
    return false
  }
  writeFileSync(stamp, lockVersion())
  console.error(`homeostat: installed in ${Math.round((Date.now() - begun) / 1000)} s`)
  return true
}

/** A command of a dependency, by the file its package.json names, so that it runs on our Node. */
function toolPath(name) {
  const folder = { vitest: 'vitest', biome: '@biomejs/biome', tsc: 'typescript' }[name] ?? name
  const { bin } = JSON.parse(readFileSync(join(root, 'node_modules', folder, 'package.json'), 'utf8'))
  return join(root, 'node_modules', folder, typeof bin === 'string' ? bin : bin[name])
}
