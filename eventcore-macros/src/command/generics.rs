//! The generics that the generated types of a command need, and a lifetime that collides with none
//! of them.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::{
    GenericParam, Generics, Lifetime, Path, Token, Type, TypeParamBound, WherePredicate,
    ext::IdentExt,
    punctuated::Punctuated,
    visit::{self, Visit},
};

/// The names in a piece of code that could be generics; lifetimes include their apostrophe.
#[derive(Default)]
struct Mentions(HashSet<String>);

impl Mentions {
    fn of(visit: impl FnOnce(&mut Self)) -> Self {
        let mut mentions = Self::default();
        visit(&mut mentions);
        mentions
    }

    fn add_tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    self.0.insert(ident.unraw().to_string());
                    self.0.insert(format!("'{ident}"));
                }
                TokenTree::Group(group) => self.add_tokens(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Mentions {
    fn visit_path(&mut self, path: &'ast Path) {
        if let (None, Some(first)) = (path.leading_colon, path.segments.first()) {
            self.0.insert(first.ident.unraw().to_string());
        }
        visit::visit_path(self, path);
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        self.0.insert(lifetime.to_string());
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.add_tokens(call.tokens.clone());
    }
}

fn name(parameter: &GenericParam) -> String {
    match parameter {
        GenericParam::Lifetime(parameter) => parameter.lifetime.to_string(),
        GenericParam::Type(parameter) => parameter.ident.unraw().to_string(),
        GenericParam::Const(parameter) => parameter.ident.unraw().to_string(),
    }
}

/// Returns `true` if a type mentions `Self`, which is a different type in generated types.
pub(super) fn mentions_self(ty: &Type) -> bool {
    Mentions::of(|mentions| mentions.visit_type(ty))
        .0
        .contains("Self")
}

/// Returns those of `generics` that `types` use, with the bounds that mention no other generics.
pub(super) fn used_by<'t>(generics: &Generics, types: impl Iterator<Item = &'t Type>) -> Generics {
    let used = Mentions::of(|mentions| types.for_each(|ty| mentions.visit_type(ty)));
    let narrowing = Narrowing {
        kept: generics
            .params
            .iter()
            .map(name)
            .filter(|name| used.0.contains(name))
            .collect(),
        dropped: generics
            .params
            .iter()
            .map(name)
            .filter(|name| !used.0.contains(name))
            .chain(["Self".to_owned()])
            .collect(),
    };
    narrowing.narrow(generics)
}

struct Narrowing {
    kept: HashSet<String>,
    dropped: HashSet<String>,
}

impl Narrowing {
    fn narrow(&self, generics: &Generics) -> Generics {
        let mut narrowed = Generics::default();
        let kept = generics
            .params
            .iter()
            .filter(|parameter| self.kept.contains(&name(parameter)));
        narrowed.params = kept
            .map(|parameter| self.parameter(parameter.clone()))
            .collect();
        self.defaults(&mut narrowed);
        if !narrowed.params.is_empty() {
            narrowed.lt_token = Some(<Token![<]>::default());
            narrowed.gt_token = Some(<Token![>]>::default());
        }
        let clause = generics
            .where_clause
            .iter()
            .flat_map(|clause| &clause.predicates);
        let predicates: Vec<_> = clause
            .filter_map(|predicate| self.predicate(predicate.clone()))
            .collect();
        if !predicates.is_empty() {
            narrowed.make_where_clause().predicates.extend(predicates);
        }
        narrowed
    }

    fn parameter(&self, mut parameter: GenericParam) -> GenericParam {
        match &mut parameter {
            GenericParam::Lifetime(lifetime) => {
                self.outlived(&mut lifetime.bounds);
                if lifetime.bounds.is_empty() {
                    lifetime.colon_token = None;
                }
            }
            GenericParam::Type(ty) => {
                self.bounds(&mut ty.bounds);
                if ty.bounds.is_empty() {
                    ty.colon_token = None;
                }
            }
            GenericParam::Const(_) => {}
        }
        parameter
    }

    /// Removes defaults that mention dropped parameters. A default is only allowed if all
    /// parameters after it have one, so earlier defaults are removed as well.
    fn defaults(&self, generics: &mut Generics) {
        let mut trailing = true;
        for parameter in generics.params.iter_mut().rev() {
            match parameter {
                GenericParam::Type(ty) => {
                    ty.default.take_if(|(_, default)| {
                        !trailing || !self.keeps(|mentions| mentions.visit_type(default))
                    });
                    trailing = ty.default.is_some();
                }
                GenericParam::Const(constant) => {
                    constant.default.take_if(|(_, default)| {
                        !trailing || !self.keeps(|mentions| mentions.visit_expr(default))
                    });
                    trailing = constant.default.is_some();
                }
                GenericParam::Lifetime(_) => {}
            }
        }
    }

    /// Returns `true` if the visited code mentions no dropped parameter.
    fn keeps(&self, visit: impl FnOnce(&mut Mentions)) -> bool {
        Mentions::of(visit).0.is_disjoint(&self.dropped)
    }

    fn predicate(&self, mut predicate: WherePredicate) -> Option<WherePredicate> {
        match &mut predicate {
            WherePredicate::Lifetime(lifetime) => {
                self.outlived(&mut lifetime.bounds);
                let kept = self.kept.contains(&lifetime.lifetime.to_string());
                (kept && !lifetime.bounds.is_empty()).then_some(predicate)
            }
            WherePredicate::Type(ty) => {
                let mentions = Mentions::of(|mentions| mentions.visit_type(&ty.bounded_ty));
                let kept =
                    !mentions.0.is_disjoint(&self.kept) && mentions.0.is_disjoint(&self.dropped);
                self.bounds(&mut ty.bounds);
                (kept && !ty.bounds.is_empty()).then_some(predicate)
            }
            _ => None,
        }
    }

    fn outlived(&self, bounds: &mut Punctuated<Lifetime, Token![+]>) {
        let all = std::mem::take(bounds);
        bounds.extend(
            all.into_iter()
                .filter(|bound| self.kept.contains(&bound.to_string()) || bound.ident == "static"),
        );
    }

    fn bounds(&self, bounds: &mut Punctuated<TypeParamBound, Token![+]>) {
        let all = std::mem::take(bounds);
        bounds.extend(
            all.into_iter()
                .filter(|bound| self.keeps(|mentions| mentions.visit_type_param_bound(bound))),
        );
    }
}

/// Returns `generics` preceded by a lifetime that all of them outlive.
pub(super) fn within(lifetime: &Lifetime, generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    let outlive: Vec<WherePredicate> = generics
        .params
        .iter()
        .filter_map(|parameter| match parameter {
            GenericParam::Lifetime(parameter) => {
                let longer = &parameter.lifetime;
                Some(syn::parse_quote!(#longer: #lifetime))
            }
            GenericParam::Type(parameter) => {
                let ty = &parameter.ident;
                Some(syn::parse_quote!(#ty: #lifetime))
            }
            GenericParam::Const(_) => None,
        })
        .collect();
    if !outlive.is_empty() {
        generics.make_where_clause().predicates.extend(outlive);
    }
    generics.params.insert(0, syn::parse_quote!(#lifetime));
    generics
}

/// Returns a lifetime that occurs neither in `generics` nor in `types`: `'a`, if it is free.
pub(super) fn fresh_lifetime<'t>(
    generics: &Generics,
    types: impl Iterator<Item = &'t Type>,
) -> Lifetime {
    let taken = Mentions::of(|mentions| {
        mentions.visit_generics(generics);
        types.for_each(|ty| mentions.visit_type(ty));
    });
    let candidates = ["'a", "'s", "'streams"].into_iter().map(str::to_owned);
    let numbered = (1_usize..).map(|number| format!("'a{number}"));
    let free = candidates
        .chain(numbered)
        .find(|name| !taken.0.contains(name));
    let name = free
        .as_deref()
        .and_then(|name| name.strip_prefix('\''))
        .unwrap_or("a");
    Lifetime {
        apostrophe: Span::call_site(),
        ident: Ident::new(name, Span::call_site()),
    }
}
