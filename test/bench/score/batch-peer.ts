// Peers that score series, as programs that stay: a batch of series goes in, its points and CPU seconds come out, so that peers and ours
// take turns within one run.
//
// Protocol: of each series of a batch its length, then one value a line; a line `0` ends the batch. The answer is one line of JSON. What
// a peer needs is fetched once by its own tool (Maven, pip) into the user's cache folder; where that cannot be, the peer is absent
// and the benchmark says why.

import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { say } from '../harness.ts'

const PEERS = join(import.meta.dirname, '..', 'peers')
const FETCH_JARS = join(import.meta.dirname, '..', '..', '..', 'infra', 'fetch-jars.sh')
const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'homeostat')

const PYTHON_PEERS = {
  river: 'river 0.26 HalfSpaceTrees (Python)',
  luminol: 'luminol 0.4 default_detector (Python)',
  'luminol-bitmap': 'luminol 0.4 bitmap_detector (Python)'
} as const

export interface BatchPeer {
  name: string
  /** CPU seconds that the series take it. */
  score(series: readonly Float64Array[]): Promise<number>
  close(): void
}

/** Random Cut Forest (Guha et al., ICML 2016), in Java. */
export function openRcf(): BatchPeer | undefined {
  return absentOnError('Random Cut Forest', name => {
    const source = join(PEERS, 'rcf')
    const pom = join(source, 'pom.xml')
    const [, version] = readFileSync(pom, 'utf8').match(/<rcf\.version>(.*)<\/rcf\.version>/)!
    const libs = join(CACHE, 'rcf', version!)
    run('sh', [FETCH_JARS, pom, libs])
    return open(`${name} ${version} (Java)`, 'java', ['-XX:+UseSerialGC', '-cp', `${libs}/*`, join(source, 'RcfPeer.java')])
  })
}

/** A detector of a Python package with its defaults. */
export function openPython(which: keyof typeof PYTHON_PEERS): BatchPeer | undefined {
  return absentOnError(which, () => {
    const source = join(PEERS, 'python')
    const requirements = join(source, 'requirements.txt')
    const hash = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 16)
    const venv = join(CACHE, 'bench', `python-${hash}`)
    const python = join(venv, 'bin', 'python')
    // A virtual environment knows its own path: it is made in place, and marked when it is whole.
    const mark = join(venv, 'whole')
    if (!existsSync(mark)) {
      say('installing the Python peers (once; needs the network) …')
      rmSync(venv, { recursive: true, force: true })
      run('python3', ['-m', 'venv', venv])
      run(python, ['-m', 'pip', 'install', '-q', '-r', requirements])
      mkdirSync(mark)
    }
    return open(PYTHON_PEERS[which], python, [join(source, 'peer.py'), which])
  })
}

function absentOnError(name: string, make: (name: string) => BatchPeer): BatchPeer | undefined {
  try {
    return make(name)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    say(`the peer ${name} is left out: ${code === 'ENOENT' ? 'its tool is not installed here' : message.split('\n')[0]}`)
    return undefined
  }
}

function run(program: string, args: readonly string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 2, 2] })
}

function open(name: string, program: string, args: readonly string[]): BatchPeer {
  execFileSync(program, ['--version'], { stdio: 'ignore' })
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  // A peer that ended is told by its missing answer.
  child.stdin.on('error', () => {})
  return {
    name,
    async score(series) {
      child.stdin.write(`${series.map(values => [values.length, ...values].join('\n')).join('\n')}\n0\n`)
      const { value, done } = await answers.next()
      if (done) throw new Error(`${name} ended without an answer`)
      const { points, seconds } = JSON.parse(value) as { points: number; seconds: number }
      const sent = series.reduce((sum, values) => sum + values.length, 0)
      if (points !== sent) throw new Error(`${name} scored ${points} of ${sent} points`)
      return seconds
    },
    close: () => void child.kill()
  }
}
