export async function leaveOneOut(_name: string, _data: string, _other?: string): Promise<never> {
  throw new Error('todo')
}
