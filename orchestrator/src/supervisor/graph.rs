//! The graph of who depends on whom: its order, and the cycle that forbids one. Config refuses a plan with a cycle.

/// Nodes with all that a node points to before it, otherwise in the order of their numbers; `Err` is a cycle, as
/// [`find_cycle`] has it. `edges[n]` are the nodes that `n` points to (depends on).
pub fn order(edges: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let mut marks = vec![Mark::New; edges.len()];
    let mut ordered = Vec::with_capacity(edges.len());
    // The path from the root, each node with the number of its edges already followed: no recursion, a chain may be long.
    let mut path: Vec<(usize, usize)> = Vec::new();
    for root in 0..edges.len() {
        if marks[root] == Mark::New {
            marks[root] = Mark::OnPath;
            path.push((root, 0));
        }
        while let Some((node, followed)) = path.last_mut() {
            let Some(&next) = edges[*node].get(*followed) else {
                marks[*node] = Mark::Done;
                ordered.push(*node);
                path.pop();
                continue;
            };
            *followed += 1;
            match marks[next] {
                Mark::Done => {}
                Mark::New => {
                    marks[next] = Mark::OnPath;
                    path.push((next, 0));
                }
                Mark::OnPath => {
                    let nodes = path.iter().map(|(node, _)| *node);
                    return Err(nodes.skip_while(|node| *node != next).collect());
                }
            }
        }
    }
    Ok(ordered)
}

/// A cycle, if there is one: each node points to the one after it, the last one to the first.
#[must_use]
pub fn find_cycle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    order(edges).err()
}

/// For each node, those that point to it.
#[must_use]
pub fn reversed(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut reversed = vec![Vec::new(); edges.len()];
    for (from, targets) in edges.iter().enumerate() {
        for &to in targets {
            if reversed[to].last() != Some(&from) {
                reversed[to].push(from);
            }
        }
    }
    reversed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_depended_on_comes_first() {
        assert_eq!(order(&[vec![2], vec![0], vec![], vec![]]), Ok(vec![2, 0, 1, 3]));
    }

    #[test]
    fn a_cycle_is_named_without_what_leads_to_it() {
        assert_eq!(find_cycle(&[vec![1], vec![2], vec![3], vec![1]]), Some(vec![1, 2, 3]));
        assert_eq!(find_cycle(&[vec![0]]), Some(vec![0]));
        assert_eq!(find_cycle(&[vec![1, 2], vec![2], vec![]]), None);
    }

    #[test]
    fn a_very_long_chain_is_no_trouble() {
        let edges: Vec<Vec<usize>> = (0..200_000).map(|n| if n + 1 < 200_000 { vec![n + 1] } else { vec![] }).collect();
        assert_eq!(order(&edges).map(|order| order[0]), Ok(199_999));
    }

    #[test]
    fn reversed_names_each_dependent_once() {
        assert_eq!(reversed(&[vec![1, 1], vec![]]), [vec![], vec![0]]);
    }
}
