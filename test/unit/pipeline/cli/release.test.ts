// `homeostat release`: what it asks the console, and what it says of the answer.

import { Command } from 'commander'
import { expect, test } from 'vitest'
import type { Client } from '../../../../pipeline/cli/client.ts'
import { registerRelease } from '../../../../pipeline/cli/release.ts'

async function release(argv: readonly string[], answer: { heldBy: string[]; stillHeld: string[] }): Promise<{ asked: unknown[]; said: string | undefined }> {
  const asked: unknown[] = []
  const told: string[] = []
  const post = async (...request: unknown[]) => {
    asked.push(...request)
    return { kind: 'release_target', ...answer }
  }
  const program = new Command().exitOverride()
  registerRelease(program, {
    client: () => ({ post }) as Partial<Client> as Client,
    output: () => ({ table: () => undefined, result: (_, text) => void told.push(text), say: () => undefined })
  })
  await program.parseAsync(['release', ...argv], { from: 'user' })
  return { asked, said: told[0] }
}

test('it says what held the target, and what is held besides', async () => {
  const { asked, said } = await release(['shop/orders@1', '--by', 'ada'], { heldBy: ['frozen since 3', 'given up'], stillHeld: ['orders-unit'] })
  expect(asked).toEqual(['/api/releases', { target: 'shop/orders@1', force: false, by: 'ada' }])
  expect(said).toBe('released shop/orders@1. What held it:\n  frozen since 3\n  given up\nStill held: orders-unit')
})

test('it says that nothing held the target, and counts the rest of a long list', async () => {
  const { asked, said } = await release(['a', '--force', '--by', 'ada'], { heldBy: [], stillHeld: ['b', 'c', 'd', 'e', 'f', 'g'] })
  expect(asked[1]).toEqual({ target: 'a', force: true, by: 'ada' })
  expect(said).toBe('released a, though nothing is known to have held it\nStill held: b, c, d, e, f, and 1 more')
})
